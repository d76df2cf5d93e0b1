"""Typed rows: records in columns of their declared types, after the entity's hook and checks.

No type is ever inferred: each column has its declared Arrow type from the start. A value that does not fit its type,
or that fails a check, becomes null with a field warning if the entity may drop it; else its row becomes a reject. The
other rows are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from etl.declare.entity import PROVIDER_ACCOUNT, Column, Entity
from etl.errors import PermanentError
from etl.sync.records.blocks import Block
from etl.sync.records.checks import run_checks
from etl.sync.records.columns import ARROW_TYPES
from etl.sync.records.faults import FieldWarning, RecordFault
from etl.sync.records.identity import RecordIdentity, digest_content, identify

_ORIGIN_FIELDS = (
    pa.field("seq", pa.int64()),
    pa.field(PROVIDER_ACCOUNT, pa.int64()),
    pa.field("removed", pa.bool_()),
    pa.field("observed_at", pa.timestamp("us", tz="UTC")),
)


class HookMovesRows(PermanentError):
    """An entity's hook drops, adds or moves rows."""

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"{entity}: its hook dropped, added or moved rows; it may only change values. Use a check to reject "
            "records."
        )


@dataclass(frozen=True)
class Reject:
    """A record that was rejected.

    Parameters
    ----------
    provider_account_id
        Whose record it is.
    line
        Ordinal of the page in its raw batch.
    observed_at
        When the page was received.
    fault
        Its path in the page, and why it was rejected.
    identity
        What it is.
    """

    provider_account_id: int
    line: int
    observed_at: datetime
    fault: RecordFault
    identity: RecordIdentity


@dataclass(frozen=True)
class WarnedRecord:
    """A record of which some field is null or rounded.

    Parameters
    ----------
    provider_account_id, line
        As those of `Reject`.
    warnings
        One for each of these fields.
    """

    provider_account_id: int
    line: int
    warnings: Sequence[FieldWarning]


class TypedRows(NamedTuple):
    """What became of the records of a block.

    Parameters
    ----------
    table
        The rows that pass, with the columns of `schema`.
    rejects
        A reject for each of the others.
    warned
        The records of those rows that have bad fields.
    """

    table: pa.Table
    rejects: list[Reject]
    warned: list[WarnedRecord]


def schema(entity: Entity) -> pa.Schema:
    """Return the columns of a typed batch: first the origin of each row, then the declared columns that are stored."""
    return _schema_of(entity.stored_columns)


def _schema_of(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([*_ORIGIN_FIELDS, *(pa.field(column.name, ARROW_TYPES[column.kind]) for column in columns)])


def build_table(block: Block) -> TypedRows:
    """Return the typed rows of a block, after the entity's hook and checks, and its rejects.

    Raises
    ------
    HookMovesRows
        If the entity's hook is not row-local.
    """
    sent = _unchecked_table(block)
    table, frame = sent, sent.to_pandas(types_mapper=pd.ArrowDtype)
    if block.entity.hook is not None:
        frame = block.entity.hook(frame)
        if not frame.index.equals(pd.RangeIndex(len(block))):
            raise HookMovesRows(block.entity.name)
        table = pa.Table.from_pandas(frame, schema=_schema_of(block.entity.columns), preserve_index=False)
    table = run_checks(block, table, frame)
    rejects = [_to_reject(block, sent, row) for row in sorted(block.faults)]
    warned = [
        WarnedRecord(block.group_of(row).provider_account_id, block.group_of(row).line, block.warnings[row])
        for row in sorted(block.warnings.keys() - block.faults.keys())
    ]
    if block.faults:
        table = table.take(np.setdiff1d(np.arange(table.num_rows), list(block.faults)))
    if len(block.entity.stored_columns) < len(block.entity.columns):
        table = table.select(schema(block.entity).names)
    return TypedRows(table, rejects, warned)


def _unchecked_table(block: Block) -> pa.Table:
    entity = block.entity
    lengths = [group.record_count for group in block.groups]

    def repeat_per_row(values: list[Any], arrow_type: pa.DataType) -> pa.Array:
        """Return an array with the value of each group repeated for its rows."""
        return pa.array(values, arrow_type).take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))

    arrays: list[pa.Array] = [
        pa.array(np.arange(block.first_seq, block.first_seq + len(block))),
        repeat_per_row([group.provider_account_id for group in block.groups], pa.int64()),
        repeat_per_row([group.is_removal for group in block.groups], pa.bool_()),
        repeat_per_row([group.received_at for group in block.groups], pa.timestamp("us", tz="UTC")),
        *(
            pa.concat_arrays(
                [group.columns[index] for group in block.groups] or [pa.array([], ARROW_TYPES[column.kind])]
            )
            for index, column in enumerate(entity.columns)
        ),
    ]
    return pa.Table.from_arrays(arrays, schema=_schema_of(entity.columns))


def _to_reject(block: Block, sent: pa.Table, row: int) -> Reject:
    """Return the reject of a row; `sent` has the rows before hook and checks."""
    group = block.group_of(row)

    def values() -> dict[str, Any]:
        return {column.name: sent[column.name][row].as_py() for column in block.entity.columns}

    identity = identify(block.entity, lambda name: sent[name][row].as_py(), lambda: digest_content(values()))
    return Reject(group.provider_account_id, group.line, group.received_at, block.faults[row], identity)
