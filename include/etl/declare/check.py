"""Checks that a typed column must pass; a row that fails one is rejected, its siblings go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from iso4217 import Currency

if TYPE_CHECKING:
    import pandas as pd

_CURRENCIES = frozenset(currency.code for currency in Currency)


class Check(Protocol):
    """A rule on one column.

    A null passes every check; whether a column may be null is declared with the column.
    """

    @property
    def rule(self) -> str:
        """Name of the rule, as kept with each reject."""

    @property
    def column(self) -> str:
        """Name of the column."""

    def passes(self, values: pd.Series) -> pd.Series:
        """Return for each value whether it passes, as a boolean series of the same index."""


@dataclass(frozen=True)
class Iso4217:
    """The column holds a currency code of ISO 4217."""

    column: str
    rule: str = "iso4217"

    def passes(self, values: pd.Series) -> pd.Series:
        """Return for each value whether it passes."""
        return values.isin(_CURRENCIES) | values.isna()


@dataclass(frozen=True)
class MaxLength:
    """The column holds at most `length` characters."""

    column: str
    length: int
    rule: str = "max_length"

    def passes(self, values: pd.Series) -> pd.Series:
        """Return for each value whether it passes."""
        return (values.str.len() <= self.length).fillna(value=True)


@dataclass(frozen=True)
class NotEmpty:
    """The column holds more than white space."""

    column: str
    rule: str = "not_empty"

    def passes(self, values: pd.Series) -> pd.Series:
        """Return for each value whether it passes."""
        return (values.str.strip() != "").fillna(value=True)
