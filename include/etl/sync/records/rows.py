"""Typed rows: records in columns of their declared types, after the entity's hook and checks.

No type is ever inferred: each column has its declared Arrow type from the start. A row with a value that does not fit
its type, or that fails a check, becomes a reject; the other rows are kept.
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
    fault
        Its path in the page, and why it was rejected.
    record_id
        Its key without the login, several columns joined by U+001F; None if it could not be decoded.
    replaces
        Key of the row that it replaces, if its entity declares where.
    observed_at
        When its page was received.
    """

    provider_account_id: int
    line: int
    fault: RecordFault
    record_id: str | None = None
    replaces: str | None = None
    observed_at: datetime | None = None


@dataclass(frozen=True)
class _RecordGroup:
    """The upserts, or the deletes, of one page.

    Parameters
    ----------
    columns
        Their values in each declared column.
    is_removal
        Whether they are deletes.
    line, provider_account_id, received_at
        Of their page.
    record_count
        Number of records.
    """

    columns: Sequence[pa.Array]
    is_removal: bool
    line: int
    provider_account_id: int
    received_at: datetime
    record_count: int


@dataclass
class Block:
    """Records of some pages, in Arrow types, on which the hook and the checks will run together.

    A page is converted as soon as it is added, while its records are still in the processor's cache.

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
        """Append the records of a page: upserts first, then deletes, which have values in key columns only."""
        for records, is_removal in ((page.upserts, False), (page.deletes, True)):
            if records:
                first_row = len(self.record_paths)
                self.record_paths.extend(records.paths)
                fields = [values_by_field(level) for level in records.levels]
                columns = [
                    self._to_arrow(column, column_values(column, fields[column.levels_up]), first_row)
                    if not is_removal or column.name in self.entity.key
                    else pa.nulls(len(records), _ARROW_TYPES[column.kind])
                    for column in self.entity.columns
                ]
                self.groups.append(
                    _RecordGroup(columns, is_removal, line, provider_account_id, received_at, len(records))
                )
                self.group_ends.append(len(self.record_paths))

    def field_path(self, row: int, column: Column) -> str:
        """Return the path of a field in its page, such as `added[3].amount`."""
        parts = self.record_paths[row].split(".")
        return ".".join((*parts[: len(parts) - column.levels_up], *column.path_parts))

    def to_reject(self, row: int, fault: RecordFault) -> Reject:
        """Return the reject of a row."""
        ordinal = bisect_right(self.group_ends, row)
        group = self.groups[ordinal]
        place = row - (self.group_ends[ordinal - 1] if ordinal else 0)
        values = {
            column.name: array[place].as_py()
            for column, array in zip(self.entity.columns, group.columns, strict=True)
            if column.name in self.entity.key or column.name == self.entity.replaces
        }
        key = [values[column.name] for column in self.entity.key_columns]
        return Reject(
            group.provider_account_id,
            group.line,
            fault,
            record_id=None if None in key else "\x1f".join(map(str, key)),
            replaces=values.get(self.entity.replaces or ""),
            observed_at=group.received_at,
        )

    def _to_arrow(self, column: Column, values: Sequence[Any], first_row: int) -> pa.Array:
        """Return values as an Arrow array of the column's type; one that does not fit becomes null and adds a fault."""
        try:
            array = pa.array(values, _ARROW_TYPES[column.kind])
        except (pa.ArrowException, OverflowError):
            array = pa.array(self._convertible_values(column, values, first_row), _ARROW_TYPES[column.kind])
        if column.kind is ColumnType.INSTANT and array.null_count < len(array):
            # A UTC offset can move an instant into year 0, which Postgres does not support, or into year 10000, which
            # Python does not.
            out_of_range = pc.or_(pc.less(array, _FIRST_INSTANT), pc.greater(array, _LAST_INSTANT))
            self._add_faults(column, out_of_range, first_row, "type", "an instant outside the years 1 to 9999")
        if column.kind is ColumnType.TEXT and _NUL in _text_bytes(array):
            has_nul = pc.match_substring(array, _NUL.decode())
            self._add_faults(
                column, has_nul, first_row, "nul", "the text holds a NUL character, which Postgres cannot store"
            )
        return array

    def _convertible_values(self, column: Column, values: Sequence[Any], first_row: int) -> list[Any]:
        converted = list(values)
        for row, value in enumerate(values):
            try:
                pa.scalar(value, _ARROW_TYPES[column.kind])
            except (pa.ArrowException, OverflowError):
                reason = f"{str(value)[:100]} does not fit {column.kind.value}"
                self.faults.setdefault(
                    first_row + row, RecordFault(self.field_path(first_row + row, column), "type", reason)
                )
                converted[row] = None
        return converted

    def _add_faults(self, column: Column, mask: pa.BooleanArray, first_row: int, rule: str, reason: str) -> None:
        for row in pc.indices_nonzero(pc.fill_null(mask, fill_value=False)).to_pylist():
            self.faults.setdefault(first_row + row, RecordFault(self.field_path(first_row + row, column), rule, reason))


def schema(entity: Entity) -> pa.Schema:
    """Return the columns of a typed batch: first the origin of each row, then the declared columns."""
    return pa.schema(
        [*_ORIGIN_FIELDS, *(pa.field(column.name, _ARROW_TYPES[column.kind]) for column in entity.columns)]
    )


def build_table(block: Block) -> tuple[pa.Table, list[Reject]]:
    """Return the typed rows of a block, after the entity's hook and checks, and its rejects.

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
                [group.columns[index] for group in block.groups] or [pa.array([], _ARROW_TYPES[column.kind])]
            )
            for index, column in enumerate(entity.columns)
        ),
    ]
    return pa.Table.from_arrays(arrays, schema=schema(entity))


def _text_bytes(array: pa.StringArray) -> bytes:
    """Return the UTF-8 bytes of all texts of an array, without separators."""
    buffer = array.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()


def _run_checks(block: Block, frame: pd.DataFrame, faults: dict[int, RecordFault]) -> None:
    columns = {column.name: column for column in block.entity.columns}
    removed = frame["removed"].astype("bool")
    upserts = frame[~removed] if removed.any() else frame
    for check in block.entity.checks:
        passes = check.passes(upserts).to_numpy(dtype="bool")
        for row in upserts.index[~passes]:
            values = ", ".join(f"{name} {str(frame.at[row, name])[:100]!r}" for name in check.columns)
            path = block.field_path(row, columns[check.columns[0]])
            faults.setdefault(row, RecordFault(path, check.rule, f"found {values}"))
