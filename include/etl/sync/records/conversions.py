"""Conversion of values from the form in which a provider sends them into that of their column, exactly.

The values of a column are converted together, as Arrow arrays. A value that cannot be converted becomes null, and is
returned with its position and the reason.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from etl.currency import decimals_by_code
from etl.declare.api.request import Epoch
from etl.declare.api.value import FromColumn, Identity, Indicator, Negated
from etl.declare.entity import Column, ColumnType
from etl.sync.records import money

AMOUNT = pa.decimal128(money.PRECISION, money.DECIMALS)
INSTANT = pa.timestamp("us", tz="UTC")
SEPARATOR = "\x1f"
_ZERO = pa.scalar(Decimal(0), AMOUNT)
_FIRST_YEAR = 1_000
"""A year with fewer digits is one that was cut."""

_WITH_COMMA = r"^[+-]?(?:\d{1,3}(?:[. \x{a0}\x{202f}'\x{2019}]\d{3})+|\d+)(?:,\d+)?$"
"""An amount with a decimal comma; groups of digits before it may be separated."""
_GROUPING = r"[. \x{a0}\x{202f}'\x{2019}]"
_SUPERFLUOUS_ZEROS = r"\b0+(\d)"

ColumnArray = Callable[[str], pa.Array]
"""Returns the converted values of another column of the same records."""


class Converted(NamedTuple):
    """Converted values of a column.

    Parameters
    ----------
    values
        The values.
    is_bad
        True where a value was sent that cannot be converted, and is null now.
    reason
        Why not.
    """

    values: pa.Array
    is_bad: pa.Array
    reason: str


def keep_matching(texts: pa.Array, pattern: str) -> pa.Array:
    """Return texts, and null in place of those that do not match a pattern; see `Column.matching`."""
    parts = ({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    matches = pc.match_substring_regex(texts, f"(?s)^{''.join(parts)}$")
    return pc.if_else(matches, texts, pa.scalar(None, texts.type))


class Twins:
    """Numbers the records of each login that have the same values, in the order in which they were sent."""

    def __init__(self) -> None:
        self._provider_account_id = 0
        self._counts: Counter[str] = Counter()

    def identify(self, identity: Identity, ids: pa.Array, column: ColumnArray, *, provider_account_id: int) -> pa.Array:
        """Return ids, with one made of the values of some columns where a record has none.

        The records of a login must come one after the other.
        """
        if ids.null_count == 0:
            return ids
        if provider_account_id != self._provider_account_id:
            self._provider_account_id, self._counts = provider_account_id, Counter()
        texts = [pc.fill_null(pc.cast(column(name), pa.string()), "\x00") for name in identity.columns]
        contents = pc.binary_join_element_wise(*texts, SEPARATOR)
        found = ids.to_pylist()
        for index in pc.indices_nonzero(pc.is_null(ids)).to_pylist():
            content = contents[index].as_py()
            self._counts[content] += 1
            text = f"{content}{SEPARATOR}{self._counts[content]}"
            found[index] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return pa.array(found, pa.string())


def parse_text(column: Column, texts: pa.Array) -> Converted:
    """Return amounts, days or instants that were sent as text."""
    if column.decimal_comma:
        return _parse_amounts(texts)
    return _parse_times(column, texts)


def from_epoch(column: Column, numbers: pa.Array, zone: str) -> pa.Array:
    """Return days or instants that were sent as the time since 1970; raise an Arrow error if one is out of range."""
    unit = column.format.value if isinstance(column.format, Epoch) else "s"
    instants = numbers.cast(pa.timestamp(unit, tz="UTC")).cast(INSTANT)
    if column.kind is ColumnType.INSTANT:
        return instants
    return pc.local_timestamp(instants.cast(pa.timestamp("us", tz=zone))).cast(pa.date32())


def to_instants(times: pa.Array, zone: str) -> pa.Array:
    """Return the instants of local times; one that is skipped or repeated when clocks change is the first possible."""
    return pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent="earliest").cast(INSTANT)


def in_zones(values: pa.Array, zones: pa.Array, convert: Callable[[pa.Array, str], pa.Array]) -> Converted:
    """Return values that are converted each in its own time zone."""
    result = convert(pa.nulls(len(values), values.type), "UTC")
    is_bad = pc.and_(pc.is_valid(values), pc.is_null(zones))
    for zone in pc.unique(zones.drop_null()).to_pylist():
        in_zone = pc.fill_null(pc.equal(zones, zone), fill_value=False)
        try:
            converted = convert(pc.if_else(in_zone, values, pa.scalar(None, values.type)), zone)
        except (pa.ArrowException, ValueError):
            is_bad = pc.or_(is_bad, pc.and_(in_zone, pc.is_valid(values)))
            continue
        result = pc.if_else(in_zone, converted, result)
    return Converted(result, is_bad, "a time without a known time zone")


def apply_sign(column: Column, amounts: pa.Array, array: ColumnArray) -> Converted:
    """Return amounts with the sign of the core table: positive if money left the account."""
    if isinstance(column.sign, Indicator):
        indicator = array(column.sign.column)
        is_debit = pc.is_in(indicator, pa.array(column.sign.debit))
        is_credit = pc.is_in(indicator, pa.array(column.sign.credit))
        is_bad = pc.and_(
            pc.is_valid(amounts),
            pc.or_(
                pc.invert(pc.or_(is_debit, is_credit)),
                pc.fill_null(pc.less(amounts, _ZERO), fill_value=False),
            ),
        )
        signed = pc.if_else(is_credit, pc.negate(amounts), amounts)
        reason = f"a negative amount, or one whose {column.sign.column} is neither debit nor credit"
        return _without_bad(signed, is_bad, reason)
    values = pc.negate(amounts) if isinstance(column.sign, Negated) else amounts
    return Converted(values, _none_of(amounts), "")


def from_minor_units(column: Column, amounts: pa.Array, currencies: Sequence[pa.Array]) -> Converted:
    """Return amounts that were sent in minor units.

    Parameters
    ----------
    currencies
        Columns with the currency; the first that is not null counts.
    """
    if column.minor_units is True:
        codes = pc.coalesce(*currencies)
        known = decimals_by_code()
        positions = pc.index_in(codes, pa.array(list(known)))
        exponents = pa.array(list(known.values()), pa.int8()).take(positions)
    else:
        exponents = pa.array([int(column.minor_units)] * len(amounts), pa.int8())
    is_whole = pc.equal(pc.round(amounts), amounts)
    is_bad = pc.and_(
        pc.is_valid(amounts), pc.or_(pc.is_null(exponents), pc.invert(pc.fill_null(is_whole, fill_value=False)))
    )
    whole = pc.if_else(is_bad, pa.scalar(None, amounts.type), amounts)
    result = pa.nulls(len(amounts), AMOUNT)
    for exponent in pc.unique(exponents.drop_null()).to_pylist():
        has_exponent = pc.fill_null(pc.equal(exponents, pa.scalar(exponent, pa.int8())), fill_value=False)
        chosen = pc.if_else(has_exponent, whole, pa.scalar(None, whole.type))
        # The digits stay, and the point moves: a division would round.
        moved = pa.Array.from_buffers(
            pa.decimal128(money.PRECISION, money.DECIMALS + exponent), len(chosen), chosen.buffers()
        )
        result = pc.if_else(has_exponent, moved.cast(AMOUNT), result)
    return Converted(result, is_bad, "a broken number of minor units, or one of an unknown currency")


def zone_of(column: Column) -> str:
    """Return the time zone of a column whose records have no zone of their own."""
    return column.zone if isinstance(column.zone, str) else "UTC"


def has_zone_by_row(column: Column) -> bool:
    """Return whether each record has a time zone of its own."""
    return isinstance(column.zone, FromColumn)


def _parse_amounts(texts: pa.Array) -> Converted:
    is_valid = pc.fill_null(pc.match_substring_regex(texts, _WITH_COMMA), fill_value=True)
    chosen = pc.if_else(is_valid, texts, pa.scalar(None, pa.string()))
    plain = pc.replace_substring(pc.replace_substring_regex(chosen, _GROUPING, ""), ",", ".")
    try:
        amounts = plain.cast(AMOUNT)
    except pa.ArrowException:
        amounts = pa.array(list(_each_amount(plain)), AMOUNT)
    return Converted(
        amounts,
        pc.and_(pc.is_valid(texts), pc.is_null(amounts)),
        "no amount with a decimal comma, such as 1.234,56, that fits the column",
    )


def _each_amount(texts: pa.Array) -> Iterator[object]:
    """Yield amounts, and None for those that do not fit."""
    for text in texts:
        try:
            yield text.cast(AMOUNT).as_py()
        except pa.ArrowException:
            yield None


def _parse_times(column: Column, texts: pa.Array) -> Converted:
    form = column.format if isinstance(column.format, str) else "%F"
    times = pc.strptime(texts, format=form, unit="us", error_is_null=True)
    is_bad = pc.and_(pc.is_valid(texts), pc.is_null(times))
    if "%z" not in form:
        # Another day than was sent, such as 3 March for 31 February, is no day.
        again = pc.strftime(times.cast(pa.timestamp("s"), safe=False), format=form)
        differs = pc.not_equal(
            *(pc.replace_substring_regex(each, _SUPERFLUOUS_ZEROS, r"\1") for each in (again, texts))
        )
        is_cut = pc.and_(pa.scalar("%y" not in form), pc.less(pc.year(times), _FIRST_YEAR))
        is_bad = pc.or_(is_bad, pc.fill_null(pc.or_(differs, is_cut), fill_value=False))
    reason = f"no date of the form {form}"
    kept = pc.if_else(is_bad, pa.scalar(None, times.type), times)
    if column.kind is ColumnType.DATE:
        return Converted(kept.cast(pa.date32()), is_bad, reason)
    return Converted(kept, is_bad, reason)


def _without_bad(values: pa.Array, is_bad: pa.Array, reason: str) -> Converted:
    return Converted(pc.if_else(is_bad, pa.scalar(None, values.type), values), is_bad, reason)


def _none_of(values: pa.Array) -> pa.Array:
    return pa.repeat(pa.scalar(value=False), len(values))
