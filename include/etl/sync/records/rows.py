"""Rows: records in typed columns, as a pandas frame with Arrow dtypes, hooked and checked.

Nothing is ever guessed: each column has its declared type from the start. A row that does not fit its type or fails a
check becomes a reject, and its siblings go on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.declare.entity import PROVIDER_ACCOUNT, Column, ColumnType, Entity
from etl.errors import PermanentError
from etl.sync.records.decoder import DecodedPage, RecordFault, column_values, values_by_field

_ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.MONEY: pa.decimal128(28, 10),
    ColumnType.DATE: pa.date32(),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
}
_FIRST_INSTANT = pa.scalar(datetime.min.replace(tzinfo=UTC), _ARROW_TYPES[ColumnType.INSTANT])
_LAST_INSTANT = pa.scalar(datetime.max.replace(tzinfo=UTC), _ARROW_TYPES[ColumnType.INSTANT])
_NUL = b"\x00"
_ORIGIN_FIELDS = (
    pa.field("seq", pa.int64()),
    pa.field(PROVIDER_ACCOUNT, pa.int64()),
    pa.field("removed", pa.bool_()),
    pa.field("observed_at", pa.timestamp("us", tz="UTC")),
)


class HookMovesRows(PermanentError):
    """A hook does more than change the values of rows."""

    def __init__(self, entity: str) -> None:
        super().__init__(
            f"{entity}: its hook dropped, added or moved rows; let it change values only, and let a check reject what "
            "does not belong."
        )


@dataclass(frozen=True)
class Reject:
    """A record that was left out.

    Parameters
    ----------
    provider_account_id
        Whose record it is.
    line
        Ordinal of the page in its raw batch.
    fault
        Where in the page, and why.
    """

    provider_account_id: int
    line: int
    fault: RecordFault


@dataclass(frozen=True)
class _RecordGroup:
    """Records that stand together: upserts, or deletes, of one page.

    Parameters
    ----------
    columns
        What they hold in each declared column.
    is_removal
        Whether they are deletes.
    line, provider_account_id, received_at
        Of their page.
    record_count
        How many they are.
    """

    columns: Sequence[pa.Array]
    is_removal: bool
    line: int
    provider_account_id: int
    received_at: datetime
    record_count: int


@dataclass
class Block:
    """Records of some pages, in Arrow's types already, waiting to be hooked and checked together.

    A page is typed as soon as it is there, while the processor still has its records at hand.

    Parameters
    ----------
    entity
        Whose records they are.
    first_seq
        Sequence number of the first record.
    """

    entity: Entity
    first_seq: int = 0
    record_paths: list[str] = field(default_factory=list)
    groups: list[_RecordGroup] = field(default_factory=list)
    group_ends: list[int] = field(default_factory=list)
    faults: dict[int, RecordFault] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many records it holds."""
        return len(self.record_paths)

    def add(self, page: DecodedPage, *, provider_account_id: int, line: int, received_at: datetime) -> None:
        """Append the records of a page: upserts first, then deletes, which tell the key only."""
        for found, removed in ((page.upserts, False), (page.deletes, True)):
            if found:
                first = len(self.record_paths)
                self.record_paths.extend(found.paths)
                fields = [values_by_field(records) for records in found.levels]
                columns = [
                    self._to_arrow(column, column_values(column, fields[column.levels_up]), first)
                    if not removed or column.name in self.entity.key
                    else pa.nulls(len(found), _ARROW_TYPES[column.kind])
                    for column in self.entity.columns
                ]
                self.groups.append(_RecordGroup(columns, removed, line, provider_account_id, received_at, len(found)))
                self.group_ends.append(len(self.record_paths))

    def field_path(self, row: int, column: Column) -> str:
        """Return the place of a field in its page, such as `added[3].amount`."""
        records = self.record_paths[row].split(".")
        return ".".join((*records[: len(records) - column.levels_up], *column.path_parts))

    def to_reject(self, row: int, fault: RecordFault) -> Reject:
        """Return what is kept of a row that is left out."""
        run = self.groups[bisect_right(self.group_ends, row)]
        return Reject(run.provider_account_id, run.line, fault)

    def _to_arrow(self, column: Column, values: Sequence[Any], first_row: int) -> pa.Array:
        """Return values in their Arrow type; one that does not fit becomes null and a fault."""
        try:
            array = pa.array(values, _ARROW_TYPES[column.kind])
        except (pa.ArrowException, OverflowError):
            array = pa.array(self._convertible_values(column, values, first_row), _ARROW_TYPES[column.kind])
        if column.kind is ColumnType.INSTANT and array.null_count < len(array):
            # A zone can move the first and the last day into year 0, which Postgres does not know, or into 10000, which
            # Python does not.
            outside = pc.or_(pc.less(array, _FIRST_INSTANT), pc.greater(array, _LAST_INSTANT))
            self._add_faults(column, outside, first_row, "type", "an instant outside the years 1 to 9999")
        if column.kind is ColumnType.TEXT and _NUL in _text_bytes(array):
            holding = pc.match_substring(array, _NUL.decode())
            self._add_faults(
                column, holding, first_row, "nul", "the text holds a NUL character, which Postgres cannot store"
            )
        return array

    def _convertible_values(self, column: Column, values: Sequence[Any], first_row: int) -> list[Any]:
        fitting = list(values)
        for row, value in enumerate(values):
            try:
                pa.scalar(value, _ARROW_TYPES[column.kind])
            except (pa.ArrowException, OverflowError):
                reason = f"{str(value)[:100]} does not fit {column.kind.value}"
                self.faults.setdefault(
                    first_row + row, RecordFault(self.field_path(first_row + row, column), "type", reason)
                )
                fitting[row] = None
        return fitting

    def _add_faults(self, column: Column, mask: pa.BooleanArray, first_row: int, rule: str, reason: str) -> None:
        for row in pc.indices_nonzero(pc.fill_null(mask, fill_value=False)).to_pylist():
            self.faults.setdefault(first_row + row, RecordFault(self.field_path(first_row + row, column), rule, reason))


def schema(entity: Entity) -> pa.Schema:
    """Return the columns of a typed batch: where each row came from, and then the declared columns."""
    return pa.schema(
        [*_ORIGIN_FIELDS, *(pa.field(column.name, _ARROW_TYPES[column.kind]) for column in entity.columns)]
    )


def build_table(block: Block) -> tuple[pa.Table, list[Reject]]:
    """Type, hook and check the records of a block.

    Returns
    -------
    tuple
        The rows that pass, with the columns of `schema`, and a reject for each of the others.

    Raises
    ------
    HookMovesRows
        If the entity's hook is not row-local.
    """
    table = _unchecked_table(block)
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    if block.entity.hook is not None:
        frame = block.entity.hook(frame)
        if not frame.index.equals(pd.RangeIndex(len(block))):
            raise HookMovesRows(block.entity.name)
        table = pa.Table.from_pandas(frame, schema=schema(block.entity), preserve_index=False)
    faults = dict(block.faults)
    _run_checks(block, frame, faults)
    rejects = [block.to_reject(row, faults[row]) for row in sorted(faults)]
    if faults:
        table = table.take(np.setdiff1d(np.arange(table.num_rows), list(faults)))
    return table, rejects


def _unchecked_table(block: Block) -> pa.Table:
    entity = block.entity
    lengths = [run.record_count for run in block.groups]

    def each(values: list[Any], kind: pa.DataType) -> pa.Array:
        """Repeat the value of each run for its rows."""
        return pa.array(values, kind).take(pa.array(np.repeat(np.arange(len(lengths)), lengths)))

    arrays: list[pa.Array] = [
        pa.array(np.arange(block.first_seq, block.first_seq + len(block))),
        each([run.provider_account_id for run in block.groups], pa.int64()),
        each([run.is_removal for run in block.groups], pa.bool_()),
        each([run.received_at for run in block.groups], pa.timestamp("us", tz="UTC")),
        *(
            pa.concat_arrays([run.columns[place] for run in block.groups] or [pa.array([], _ARROW_TYPES[column.kind])])
            for place, column in enumerate(entity.columns)
        ),
    ]
    return pa.Table.from_arrays(arrays, schema=schema(entity))


def _text_bytes(array: pa.StringArray) -> bytes:
    """Return all texts of an array, one right after the other."""
    text = array.buffers()[2]
    return b"" if text is None else text.to_pybytes()


def _run_checks(block: Block, frame: pd.DataFrame, faults: dict[int, RecordFault]) -> None:
    columns = {column.name: column for column in block.entity.columns}
    removed = frame["removed"].astype("bool")
    upserts = frame[~removed] if removed.any() else frame
    for check in block.entity.checks:
        passes = check.passes(upserts).to_numpy(dtype="bool")
        for row in upserts.index[~passes]:
            found = ", ".join(f"{name} {str(frame.at[row, name])[:100]!r}" for name in check.columns)
            place = block.field_path(row, columns[check.columns[0]])
            faults.setdefault(row, RecordFault(place, check.rule, f"found {found}"))
