"""Columns of the records of one page in Arrow types: as sent, or converted as their declaration says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from etl.currency import decimals_by_code
from etl.declare.api.request import Epoch
from etl.declare.api.value import ByList, FromColumn
from etl.declare.column import SentAs
from etl.declare.entity import Column, ColumnType, Entity
from etl.sync.records import conversions, money
from etl.sync.records.conversions import Converted, Twins
from etl.sync.records.lenient import RULE
from etl.sync.records.structs import FieldValues, column_values

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.MONEY: conversions.AMOUNT,
    ColumnType.DATE: pa.date32(),
    ColumnType.INSTANT: conversions.INSTANT,
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INTEGER: pa.int64(),
}
_SENT_TYPES: dict[SentAs, pa.DataType] = {
    SentAs.TEXT: pa.string(),
    SentAs.DECIMAL: conversions.AMOUNT,
    SentAs.DATE: pa.date32(),
    SentAs.INSTANT: conversions.INSTANT,
    SentAs.LOCAL_TIME: pa.timestamp("us"),
    SentAs.BOOLEAN: pa.bool_(),
    SentAs.INTEGER: pa.int64(),
}
REQUIRED_RULE = "required"
_FIRST_INSTANT = pa.scalar(datetime.min.replace(tzinfo=UTC), conversions.INSTANT)
_LAST_INSTANT = pa.scalar(datetime.max.replace(tzinfo=UTC), conversions.INSTANT)
_NUL = b"\x00"

Refuse = Callable[[int, Column, str, str, object], None]
"""Records that the value of a row, given by its position in the page, is bad: column, rule, reason and value."""
Warn = Callable[[int, Column, str, object], None]
"""Records that the value of a row was rounded."""


@dataclass
class PageColumns:
    """The upserts, or the deletes, of one page, of which columns are made.

    Parameters
    ----------
    entity
        Whose columns they are.
    fields
        Values of the fields of the records, then of the records whose lists contain them, and so on upwards.
    lists
        Path of each list that the records are of, with the number of records, in their order.
    provider_account_id, item_id
        The login that they are of.
    twins
        Numbers records without an id.
    refuse, warn
        Called for each bad, and for each rounded value.
    """

    entity: Entity
    fields: Sequence[FieldValues]
    lists: Sequence[tuple[str, int]]
    provider_account_id: int
    item_id: str
    twins: Twins
    refuse: Refuse
    warn: Warn
    _arrays: dict[str, pa.Array] = field(default_factory=dict, init=False)

    def array(self, column: Column) -> pa.Array:
        """Return a column's values as an Arrow array of its type; a bad value is refused, and null in the array."""
        if column.name not in self._arrays:
            if column.is_converted:
                self._arrays[column.name] = self._checked(column, self._convert(column))
            else:
                self._arrays[column.name] = self._checked(column, self._as_sent(column))
        return self._arrays[column.name]

    def _of_name(self, name: str) -> pa.Array:
        return self.array(next(column for column in self.entity.columns if column.name == name))

    def _convert(self, column: Column) -> pa.Array:
        """Return the values of a column that are not as they were sent."""
        values = self._filled(column) if column.fill is not None else self._read(column)
        if column.sign is not None:
            values = self._kept(column, conversions.apply_sign(column, values, self._of_name))
        if column.otherwise is not None:
            values = pc.coalesce(values, self._of_name(column.otherwise))
        if column.default is not None:
            values = pc.fill_null(values, pa.scalar(column.default, values.type))
        if column.identity is not None:
            values = self.twins.identify(
                column.identity, values, self._of_name, provider_account_id=self.provider_account_id
            )
        if column.required and values.null_count:
            for index in pc.indices_nonzero(pc.is_null(values)).to_pylist():
                self.refuse(index, column, REQUIRED_RULE, "no value, nor a substitute", None)
        return values

    def _read(self, column: Column) -> pa.Array:
        """Return the values of the field of a column, in the type of the column."""
        sent = self._as_sent(column)
        if column.null_values:
            is_null = pc.is_in(sent, pa.array(column.null_values, sent.type))
            sent = pc.if_else(is_null, pa.scalar(None, sent.type), sent)
        if column.matching is not None:
            sent = conversions.keep_matching(sent, column.matching)
        match column.sent_as:
            case SentAs.TEXT if column.kind is not ColumnType.TEXT:
                sent = self._kept(column, conversions.parse_text(column, sent))
            case SentAs.INTEGER if isinstance(column.format, Epoch):
                return self._from_epoch(column, sent)
        if column.minor_units is not False:
            currencies = [self._of_name(name) for name in self.entity.currencies]
            sent = self._kept(column, conversions.from_minor_units(column, sent, currencies))
        if column.kind is ColumnType.INSTANT and sent.type != conversions.INSTANT:
            sent = self._with_zone(column, sent)
        return sent

    def _from_epoch(self, column: Column, numbers: pa.Array) -> pa.Array:
        """Return times; where one is out of range, each by itself, so that the others are kept."""
        if conversions.has_zone_by_row(column):
            return self._in_zones(column, numbers, lambda part, zone: conversions.from_epoch(column, part, zone))
        zone = conversions.zone_of(column)
        try:
            return conversions.from_epoch(column, numbers, zone)
        except pa.ArrowException:
            times: list[Any] = []
        for index in range(len(numbers)):
            try:
                times.append(conversions.from_epoch(column, numbers[index : index + 1], zone)[0].as_py())
            except (pa.ArrowException, ValueError, OverflowError):
                self.refuse(index, column, RULE, f"does not fit {column.kind.value}", numbers[index].as_py())
                times.append(None)
        return pa.array(times, ARROW_TYPES[column.kind])

    def _with_zone(self, column: Column, times: pa.Array) -> pa.Array:
        if times.type.tz is not None:
            return times.cast(conversions.INSTANT)
        if conversions.has_zone_by_row(column):
            return self._in_zones(column, times, conversions.to_instants)
        return conversions.to_instants(times, conversions.zone_of(column))

    def _in_zones(self, column: Column, values: pa.Array, convert: Callable[[pa.Array, str], pa.Array]) -> pa.Array:
        zones = self._of_name(column.zone.column) if isinstance(column.zone, FromColumn) else pa.nulls(len(values))
        return self._kept(column, conversions.in_zones(values, zones, convert))

    def _filled(self, column: Column) -> pa.Array:
        if isinstance(column.fill, ByList):
            values = [value for path, count in self.lists for value in [column.fill.values[path]] * count]
            return pa.array(values, ARROW_TYPES[column.kind])
        return pa.repeat(pa.scalar(self.item_id or None, pa.string()), len(self))

    def _kept(self, column: Column, converted: Converted) -> pa.Array:
        """Return converted values, after those that are bad were refused."""
        if pc.any(converted.is_bad).as_py():
            values = column_values(column, self.fields[column.levels_up])
            for index in pc.indices_nonzero(converted.is_bad).to_pylist():
                self.refuse(index, column, RULE, converted.reason, values[index])
        return converted.values

    def __len__(self) -> int:
        """Return how many records there are."""
        return sum(count for _, count in self.lists)

    def _as_sent(self, column: Column) -> pa.Array:
        values = column_values(column, self.fields[column.levels_up])
        if column.sent_as is SentAs.DECIMAL:
            return self._amounts(column, values)
        return self._values(column, values)

    def _checked(self, column: Column, array: pa.Array) -> pa.Array:
        """Return an array without values that Postgres or Python cannot hold, which are refused."""
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
            self.refuse(index, column, rule, reason, self._value_as_sent(column, index))
        return pc.if_else(is_bad, pa.scalar(None, array.type), array)

    def _value_as_sent(self, column: Column, index: int) -> object:
        return None if column.fill else column_values(column, self.fields[column.levels_up])[index]

    def _values(self, column: Column, values: Sequence[Any]) -> pa.Array:
        arrow_type = _SENT_TYPES[column.sent_as]
        try:
            return pa.array(values, arrow_type)
        except (pa.ArrowException, OverflowError):
            fitting = list(values)
        for index, value in enumerate(values):
            try:
                pa.scalar(value, arrow_type)
            except (pa.ArrowException, OverflowError):
                self.refuse(index, column, RULE, f"does not fit {column.kind.value}", value)
                fitting[index] = None
        return pa.array(fitting, arrow_type)

    def _amounts(self, column: Column, amounts: Sequence[Decimal | None]) -> pa.Array:
        try:
            return pa.array(money.within_bounds(amounts), conversions.AMOUNT)
        except (pa.ArrowException, ArithmeticError):
            fitting: list[Decimal | None] = []
        for index, (amount, decimals) in enumerate(zip(amounts, self._decimals(column), strict=True)):
            stored, rule = (None, None) if amount is None else money.fit(amount, decimals)
            fitting.append(stored)
            if rule == money.NOISE_RULE:
                self.warn(index, column, rule, amount)
            elif rule is not None:
                self.refuse(index, column, rule, f"does not fit {column.kind.value}", amount)
        return pa.array(fitting, conversions.AMOUNT)

    def _decimals(self, column: Column) -> list[int | None]:
        """Return the decimals that each amount may have as sent; None where its currency is unknown or has none."""
        if column.minor_units is not False:
            return [0] * len(self)
        codes = zip(*(self._of_name(name).to_pylist() for name in self.entity.currencies), strict=True)
        known = decimals_by_code()
        return [known.get(next(filter(None, each), "")) for each in codes]


def _text_bytes(array: pa.StringArray) -> bytes:
    """Return the UTF-8 bytes of all texts of an array, without separators."""
    buffer = array.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()
