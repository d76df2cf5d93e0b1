"""Currencies. Amounts are whole minor units, and become exact decimals only for output."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency of the bank's accounts.

    Parameters
    ----------
    code
        ISO 4217.
    exponent
        Decimal places of the minor unit.
    per_dollar
        Minor units worth about one US dollar; scales the bank's price lists, which are in US cents.
    """

    code: str
    exponent: int
    per_dollar: int = 100

    def from_cents(self, cents: int) -> int:
        """Return a price of `cents` US cents (at least 1) in minor units of this currency (at least 1)."""
        return max(1, cents * self.per_dollar // 100)

    def to_decimal(self, minor: int) -> Decimal:
        """Return `minor` units as a decimal with exactly `exponent` places."""
        return Decimal(minor).scaleb(-self.exponent)


USD = Currency("USD", exponent=2, per_dollar=100)
EUR = Currency("EUR", exponent=2, per_dollar=92)
GBP = Currency("GBP", exponent=2, per_dollar=79)
JPY = Currency("JPY", exponent=0, per_dollar=150)
KWD = Currency("KWD", exponent=3, per_dollar=307)
BGN = Currency("BGN", exponent=2, per_dollar=180)
"""In use until the end of 2025; only of accounts that a fault strikes."""
HRK = Currency("HRK", exponent=2, per_dollar=695)
"""In use until the end of 2022; only of transactions that a fault strikes."""

CURRENCIES = (USD, EUR, GBP, JPY, KWD)
