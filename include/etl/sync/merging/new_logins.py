"""Direct copy of the rows of logins of which nothing is known yet, without a staging table or a merge.

There is nothing to compare their rows with. They are sorted by key block by block, and copied in Postgres' binary
format straight into the core table, which takes half the time of staging and merging them.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.db.tables.layout import is_partitioned
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Feed
from etl.sync.merging.outdated import Origin
from etl.sync.records.duplicates import DuplicateFilter
from etl.sync.records.filters import clamp_observation, only_logins
from etl.sync.store import cursors, staging
from etl.sync.store.typed_batches import TypedBatch

_OBSERVED_AT = "observed_at"
_NOT_OF_COPIED = frozenset({"drop_unconfirmed", "find_absent", "remove"})
"""Statements that run for windows, full reads and removals only, of which no row is copied."""


@dataclass(frozen=True)
class CopiedLogins:
    """What was copied into the core table.

    Parameters
    ----------
    logins
        The logins of the batch whose rows were copied.
    rows
        Number of their rows.
    """

    logins: Collection[int] = field(default_factory=frozenset)
    rows: int = 0


def copy(entity: Entity, typed_batch: TypedBatch, origin: Origin, *, db: Connection) -> CopiedLogins:
    """Copy the rows of those logins in `incoming_cursors` of which nothing is known yet, and return them.

    Their cursors are locked and were never moved; they have no row and no open reject, and none of their records in
    the batch is a removal, was rejected, or has the key of another one. Otherwise nothing is copied.
    """
    if not (isinstance(origin, Feed) and is_partitioned(entity)) or _has_own_statements(entity):
        return CopiedLogins()
    logins = cursors.find_new(db, entity, feed=origin.name)
    if not logins or not _are_plain(entity, typed_batch, logins):
        return CopiedLogins()
    raw_batch = typed_batch.raw_batch
    blocks = clamp_observation(
        only_logins(typed_batch.rows(), logins), earliest=raw_batch.opened_at, latest=raw_batch.sealed_at
    )
    last_observed: dict[int, datetime] = {}
    rows = staging.copy_rows(db, entity, _sort_by_key(entity, blocks, last_observed), raw_id=raw_batch.raw_id)
    cursors.record_copied(db, last_observed)
    return CopiedLogins(logins, rows)


def _has_own_statements(entity: Entity) -> bool:
    """Return whether statements of the entity's own may need its rows in `incoming`."""
    file = EntityStatements(entity)
    return bool(file.own & {"merge", "before_merge"} or file.readers_of_new_logins - _NOT_OF_COPIED)


def _sort_by_key(
    entity: Entity, blocks: Iterable[pa.RecordBatch], last_observed: dict[int, datetime]
) -> Iterator[pa.RecordBatch]:
    """Yield the blocks, each sorted by key as far as a block goes, so that the index grows at few places.

    Parameters
    ----------
    last_observed
        Provider account → when the last of its yielded rows was observed.
    """
    for block in blocks:
        by_login = pa.table([block[PROVIDER_ACCOUNT], block[_OBSERVED_AT]], names=[PROVIDER_ACCOUNT, _OBSERVED_AT])
        latest = by_login.group_by(PROVIDER_ACCOUNT, use_threads=False).aggregate([(_OBSERVED_AT, "max")])
        # The logins of a batch come one after the other, and each one's pages in the order in which they were read.
        for login, observed_at in zip(*(column.to_pylist() for column in latest.columns), strict=True):
            last_observed[login] = max(observed_at, last_observed.get(login, observed_at))
        yield block.take(pc.sort_indices(block, sort_keys=[(name, "ascending") for name in entity.key]))


def _are_plain(entity: Entity, typed_batch: TypedBatch, logins: Collection[int]) -> bool:
    """Return whether the rows of some logins have distinct keys, and none is a removal; only these columns are read."""
    survey = DuplicateFilter(entity)
    columns = dict.fromkeys((PROVIDER_ACCOUNT, "removed", _OBSERVED_AT, *entity.key))
    blocks = only_logins(typed_batch.rows(list(columns)), logins)
    deque(survey.drop_duplicates(blocks), maxlen=0)
    return not (survey.has_removals or survey.dropped or survey.has_possible_duplicates)
