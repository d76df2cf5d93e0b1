"""Amounts that fit the column: exact, or rounded where they differ from a round amount only by binary noise.

A bank that computes with binary fractions sends 4.220000000000001 for 4.22. What such an amount is above the minor unit
of its currency is noise if it is less than a millionth of that unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
    Subnormal,
)

from etl.sync.records.lenient import RULE

PRECISION, DECIMALS = 28, 10
"""Digits of an amount in all, and after the point: those of `numeric(28, 10)`."""
NOISE_RULE = "noise"
MINOR_UNITS_RULE = "minor_units"

_MAX_NOISE = Decimal("1e-6")
"""Share of the minor unit below which a difference is noise."""
_MAX_NOISE_WITHOUT_UNIT = Decimal("1e-12")
"""Noise where a currency has no minor unit: a hundredth of the last digit of the column, far above the noise of binary
fractions, and of no value in any currency."""
_SMALLEST = -30
"""Exponent of ten below which every amount is noise."""

_BOUNDED = Context(
    prec=PRECISION,
    rounding=ROUND_HALF_EVEN,
    Emin=-DECIMALS,
    Emax=PRECISION - DECIMALS - 1,
    traps=[InvalidOperation, Inexact, Overflow, Subnormal],
)
_EXACT = Context(prec=2 * PRECISION, rounding=ROUND_HALF_EVEN, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation])


def within_bounds(amounts: Sequence[Decimal | None]) -> list[Decimal | None]:
    """Return amounts without superfluous digits, all of which Arrow can read: it crashes on exponents like 1e-10000000.

    Raises
    ------
    ArithmeticError
        If one of them has too many digits, is too large or too small; infinities and NaN may pass.
    """
    plus = _BOUNDED.plus
    return [None if amount is None else plus(amount) for amount in amounts]


def fit(amount: Decimal, decimals: int | None) -> tuple[Decimal | None, str | None]:
    """Return an amount as the column holds it, and the rule that it breaks.

    Parameters
    ----------
    decimals
        Decimals of its currency's minor unit; None if it has none, or is unknown.

    Returns
    -------
    tuple
        The amount and no rule, if it fits exactly, though perhaps with more decimals than the currency has. The rounded
        amount and `noise`. No amount, and `type` or `minor_units`.
    """
    if not amount:
        return Decimal(0), None
    if not amount.is_finite() or amount.adjusted() >= PRECISION - DECIMALS:
        return None, RULE
    noise = _MAX_NOISE_WITHOUT_UNIT if decimals is None else _MAX_NOISE.scaleb(-decimals, _EXACT)
    rounded = _round(amount, DECIMALS if decimals is None else decimals)
    if rounded == amount:
        return rounded, None
    if _EXACT.abs(_EXACT.subtract(amount, rounded)) < noise and rounded.adjusted() < PRECISION - DECIMALS:
        return rounded, NOISE_RULE
    stored = _round(amount, DECIMALS)
    if stored == amount:
        return stored, None
    return None, RULE if decimals is None else MINOR_UNITS_RULE


def _round(amount: Decimal, decimals: int) -> Decimal:
    if amount.adjusted() < _SMALLEST:
        return Decimal(0)
    return amount.quantize(Decimal(1).scaleb(-decimals), context=_EXACT)
