"""Checks of typed rows; a row that fails one is rejected, the other rows of its batch are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from iso4217 import Currency

from etl.declare.column import ColumnType
from etl.declare.validation import require_count, require_tuple

if TYPE_CHECKING:
    import pandas as pd

_EXPONENTS = {currency.code: currency.exponent for currency in Currency}


@runtime_checkable
class Check(Protocol):
    """A rule on the columns of a row.

    A null passes every check that does not say otherwise; whether a column may be null is declared with the column.
    """

    @property
    def rule(self) -> str:
        """Name of the rule, as recorded with each reject."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads; a reject names the first."""

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required type of each of these columns; None where any type is allowed."""

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes, as a boolean series with the same index."""


@dataclass(frozen=True)
class Iso4217:
    """The column holds a currency code of ISO 4217."""

    column: str
    rule: str = "iso4217"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these."""
        return (ColumnType.TEXT,)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        return rows[self.column].isin(_EXPONENTS) | rows[self.column].isna()


@dataclass(frozen=True)
class MinorUnits:
    """The amount has no more decimals than its currency has: none in JPY, two in EUR, three in KWD.

    Currencies that ISO 4217 does not list, or for which it defines no minor unit, are not limited.
    """

    amount: str
    currency: str
    rule: str = "minor_units"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.amount, self.currency)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these."""
        return (ColumnType.MONEY, ColumnType.TEXT)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        import pandas as pd
        import pyarrow as pa
        from pyarrow import compute

        amounts, currencies = (rows[name].array.__arrow_array__() for name in self.columns)
        positions = compute.index_in(currencies, pa.array(_EXPONENTS))
        exponents = pa.array(_EXPONENTS.values(), pa.int8()).take(positions.combine_chunks())
        fails = pa.nulls(len(rows), pa.bool_())
        for exponent in exponents.drop_null().unique().to_pylist():
            # Towards zero, since the largest amounts cannot be rounded up.
            rounded = compute.round(amounts, ndigits=exponent, round_mode="towards_zero")
            fails = compute.if_else(compute.equal(exponents, exponent), compute.not_equal(amounts, rounded), fails)
        return ~pd.Series(compute.fill_null(fails, fill_value=False).to_numpy(zero_copy_only=False), index=rows.index)


@dataclass(frozen=True)
class ExactlyOne:
    """Exactly one of the columns holds a value; the others are null."""

    columns: tuple[str, ...]
    rule: str = "exactly_one"

    def __post_init__(self) -> None:
        require_tuple(f"check {self.rule}", "columns", self.columns, str, minimum=2)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these; any type is allowed."""
        return (None,) * len(self.columns)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        first, *others = (rows[column].notna().astype("int8") for column in self.columns)
        return sum(others, first) == 1


@dataclass(frozen=True)
class MaxLength:
    """The column holds at most `length` characters."""

    column: str
    length: int
    rule: str = "max_length"

    def __post_init__(self) -> None:
        require_count(f"check {self.rule}", "length", self.length, minimum=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these."""
        return (ColumnType.TEXT,)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        return (rows[self.column].str.len() <= self.length).fillna(value=True)


@dataclass(frozen=True)
class NotEmpty:
    """The column holds more than whitespace."""

    column: str
    rule: str = "not_empty"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these."""
        return (ColumnType.TEXT,)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        return (rows[self.column].str.strip() != "").fillna(value=True)
