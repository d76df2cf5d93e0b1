"""Checks of typed rows.

A row that fails one loses the value in the first column of the check, if that column may be dropped; else it is
rejected. The other rows of its batch are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from etl.currency import currencies, decimals_by_code
from etl.declare.column import ColumnType
from etl.declare.validation import require_count, require_distinct, require_tuple

if TYPE_CHECKING:
    import pandas as pd


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
        """Names of the columns that it reads; a reject or field warning names the first."""

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required type of each of these columns; None where any type is allowed."""

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes, as a boolean series with the same index."""


@dataclass(frozen=True)
class Iso4217:
    """The column holds a currency code of ISO 4217, of today or of before.

    Parameters
    ----------
    column
        The column.
    on
        Column with the date of the money: a former code must have been tender on that day, or up to a year before it.
        Without it, and in rows without a date, every former code passes.
    """

    column: str
    rule: str = "iso4217"
    on: str | None = field(default=None, kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.column,) if self.on is None else (self.column, self.on)

    @property
    def column_types(self) -> tuple[ColumnType | None, ...]:
        """Required types of these."""
        return (ColumnType.TEXT,) if self.on is None else (ColumnType.TEXT, ColumnType.DATE)

    def passes(self, rows: pd.DataFrame) -> pd.Series:
        """Return for each row whether it passes."""
        import numpy as np
        import pandas as pd

        codes = rows[self.column]
        passes = codes.isin([code for code, currency in currencies().items() if currency.is_current]) | codes.isna()
        for code in codes[~passes].unique():
            if former := currencies().get(code):
                has_code = codes.isin([code])
                days = [None] * int(has_code.sum()) if self.on is None else rows.loc[has_code, self.on]
                passes[has_code] = np.array([pd.isna(day) or former.was_booked_on(day) for day in days], dtype=bool)
        return passes


@dataclass(frozen=True)
class MinorUnits:
    """The amount has no more decimals than its currency has: none in JPY, two in EUR, three in KWD.

    An amount that exceeds them by binary noise only, less than a millionth of the minor unit, is rounded, with a field
    warning. Currencies that ISO 4217 never listed, or that have no minor unit, are not limited.
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

        amounts, codes = (rows[name].array.__arrow_array__() for name in self.columns)
        positions = compute.index_in(codes, pa.array(decimals_by_code()))
        exponents = pa.array(decimals_by_code().values(), pa.int8()).take(positions.combine_chunks())
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
        require_distinct(f"check {self.rule}", "columns", self.columns)

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
