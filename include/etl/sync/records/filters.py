"""Filters of the blocks of a typed batch on their way to the staging table, on Arrow columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from etl.declare.entity import PROVIDER_ACCOUNT

_OBSERVED_AT = "observed_at"


def without_logins(blocks: Iterable[pa.RecordBatch], logins: Collection[int]) -> Iterator[pa.RecordBatch]:
    """Yield the blocks without the records of some logins; a block that has no others is skipped."""
    if not logins:
        yield from blocks
        return
    excluded = pa.array(logins, pa.int64())
    for block in blocks:
        others = block.filter(pc.invert(pc.is_in(block[PROVIDER_ACCOUNT], excluded)))
        if others.num_rows:
            yield others


def only_logins(blocks: Iterable[pa.RecordBatch], logins: Collection[int]) -> Iterator[pa.RecordBatch]:
    """Yield the blocks with the records of some logins only; a block that has none is skipped."""
    included = pa.array(logins, pa.int64())
    for block in blocks:
        of_logins = pc.is_in(block[PROVIDER_ACCOUNT], included)
        if pc.all(of_logins).as_py():
            yield block
        elif pc.any(of_logins).as_py():
            yield block.filter(of_logins)


def clamp_observation(
    blocks: Iterable[pa.RecordBatch], *, earliest: datetime | None, latest: datetime
) -> Iterator[pa.RecordBatch]:
    """Yield the blocks with each time of observation moved between two instants.

    Parameters
    ----------
    earliest
        None if it is not known.
    """
    for block in blocks:
        position = block.schema.get_field_index(_OBSERVED_AT)
        column = block.schema.field(position)
        observed_at, last = block[position], pa.scalar(latest, column.type)
        observed_at = pc.if_else(pc.greater(observed_at, last), last, observed_at)
        if earliest is not None:
            first = pa.scalar(earliest, column.type)
            observed_at = pc.if_else(pc.less(observed_at, first), first, observed_at)
        yield block.set_column(position, column, observed_at)
