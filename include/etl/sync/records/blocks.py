"""Blocks of records: pages are added one by one, and their values converted into Arrow types."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.currency import decimals_by_code
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records import money
from etl.sync.records.decoder import DecodedPage
from etl.sync.records.faults import FieldWarning, RecordFault, describe_value
from etl.sync.records.lenient import RULE
from etl.sync.records.structs import FieldValues, column_values, values_by_field

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.MONEY: pa.decimal128(money.PRECISION, money.DECIMALS),
    ColumnType.DATE: pa.date32(),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
}
_FIRST_INSTANT = pa.scalar(datetime.min.replace(tzinfo=UTC), ARROW_TYPES[ColumnType.INSTANT])
_LAST_INSTANT = pa.scalar(datetime.max.replace(tzinfo=UTC), ARROW_TYPES[ColumnType.INSTANT])
_NUL = b"\x00"


@dataclass(frozen=True)
class RecordGroup:
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
    groups: list[RecordGroup] = field(default_factory=list)
    group_ends: list[int] = field(default_factory=list)
    faults: dict[int, RecordFault] = field(default_factory=dict)
    warnings: defaultdict[int, list[FieldWarning]] = field(default_factory=lambda: defaultdict(list))

    def __len__(self) -> int:
        """Return how many records it holds."""
        return len(self.record_paths)

    def add(self, page: DecodedPage, *, provider_account_id: int, line: int, received_at: datetime) -> None:
        """Append the records of a page: upserts first, then deletes, which have values in key columns only."""
        for records, is_removal in ((page.upserts, False), (page.deletes, True)):
            if records:
                first_row = len(self.record_paths)
                self.record_paths.extend(records.paths)
                for index, warnings in records.warnings.items():
                    self.warnings[first_row + index] += warnings
                fields = [values_by_field(level) for level in records.levels]
                columns = [
                    self._to_arrow(column, fields, first_row)
                    if not is_removal or column.name in self.entity.key
                    else pa.nulls(len(records), ARROW_TYPES[column.kind])
                    for column in self.entity.columns
                ]
                self.groups.append(
                    RecordGroup(columns, is_removal, line, provider_account_id, received_at, len(records))
                )
                self.group_ends.append(len(self.record_paths))

    def field_path(self, row: int, column: Column) -> str:
        """Return the path of a field in its page, such as `added[3].amount`."""
        parts = self.record_paths[row].split(".")
        return ".".join((*parts[: len(parts) - column.levels_up], *column.path_parts))

    def warn(self, row: int, column: Column, rule: str, value: object) -> None:
        """Record that a field is null or rounded; only the first warning of a field counts."""
        path = self.field_path(row, column)
        if all(warning.path != path for warning in self.warnings[row]):
            self.warnings[row].append(FieldWarning(path, rule, describe_value(value)))

    def group_of(self, row: int) -> RecordGroup:
        """Return the group that a row is in."""
        return self.groups[bisect_right(self.group_ends, row)]

    def _to_arrow(self, column: Column, fields: Sequence[FieldValues], first_row: int) -> pa.Array:
        """Return a column's values as an Arrow array of its type; a bad value is refused, and null in the array."""
        values = column_values(column, fields[column.levels_up])
        array = (
            self._amounts_to_arrow(column, values, fields, first_row)
            if column.kind is ColumnType.MONEY
            else self._values_to_arrow(column, values, first_row)
        )
        is_bad, rule, reason = None, RULE, "an instant outside the years 1 to 9999"
        if column.kind is ColumnType.INSTANT and array.null_count < len(array):
            # A UTC offset can move an instant into year 0, which Postgres does not support, or into year 10000, which
            # Python does not.
            is_bad = pc.or_(pc.less(array, _FIRST_INSTANT), pc.greater(array, _LAST_INSTANT))
        if column.kind is ColumnType.TEXT and _NUL in _text_bytes(array):
            is_bad = pc.match_substring(array, _NUL.decode())
            rule, reason = "nul", "the text holds a NUL character, which Postgres cannot store"
        if is_bad is None or not pc.any(is_bad).as_py():
            return array
        is_bad = pc.fill_null(is_bad, fill_value=False)
        for index in pc.indices_nonzero(is_bad).to_pylist():
            self._refuse(first_row + index, column, rule, reason, values[index])
        return pc.if_else(is_bad, pa.scalar(None, array.type), array)

    def _values_to_arrow(self, column: Column, values: Sequence[Any], first_row: int) -> pa.Array:
        arrow_type = ARROW_TYPES[column.kind]
        try:
            return pa.array(values, arrow_type)
        except (pa.ArrowException, OverflowError):
            fitting = list(values)
        for index, value in enumerate(values):
            try:
                pa.scalar(value, arrow_type)
            except (pa.ArrowException, OverflowError):
                self._refuse(first_row + index, column, RULE, f"does not fit {column.kind.value}", value)
                fitting[index] = None
        return pa.array(fitting, arrow_type)

    def _amounts_to_arrow(
        self, column: Column, amounts: Sequence[Decimal | None], fields: Sequence[FieldValues], first_row: int
    ) -> pa.Array:
        arrow_type = ARROW_TYPES[column.kind]
        try:
            return pa.array(money.within_bounds(amounts), arrow_type)
        except (pa.ArrowException, ArithmeticError):
            fitting: list[Decimal | None] = []
        for index, (amount, decimals) in enumerate(zip(amounts, self._decimals(fields), strict=True)):
            stored, rule = (None, None) if amount is None else money.fit(amount, decimals)
            fitting.append(stored)
            if rule == money.NOISE_RULE:
                self.warn(first_row + index, column, rule, amount)
            elif rule is not None:
                self._refuse(first_row + index, column, rule, f"does not fit {column.kind.value}", amount)
        return pa.array(fitting, arrow_type)

    def _decimals(self, fields: Sequence[FieldValues]) -> list[int | None]:
        """Return the decimals of the currency of each record; None where it is unknown or has no minor unit."""
        columns = [column for column in self.entity.columns if column.name in self.entity.currencies]
        codes = zip(*(column_values(column, fields[column.levels_up]) for column in columns), strict=True)
        known = decimals_by_code()
        return [known.get(next(filter(None, each), "")) for each in codes]

    def _refuse(self, row: int, column: Column, rule: str, reason: str, value: object) -> None:
        """Record that a value is bad: it costs only itself if the entity may drop it, and else its row."""
        if self.entity.may_drop(column):
            self.warn(row, column, rule, value)
        else:
            fault = RecordFault(self.field_path(row, column), rule, f"{describe_value(value)}: {reason}")
            self.faults.setdefault(row, fault)


def _text_bytes(array: pa.StringArray) -> bytes:
    """Return the UTF-8 bytes of all texts of an array, without separators."""
    buffer = array.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()
