"""Currencies of ISO 4217: those of today, and those of before, with the days on which they were tender.

Today's codes and their decimals come from ISO's own list. ISO publishes no decimals and no exact days of former codes;
these come from the CLDR of the Unicode Consortium. Both lists are read on the first use, not on import.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

LATE_BOOKINGS = timedelta(days=365)
"""How long after its last day as tender a currency may still be booked: banks book and correct late."""


@dataclass(frozen=True)
class Currency:
    """A currency.

    Parameters
    ----------
    code
        Its code of three letters.
    decimals
        Decimals of its minor unit: none in JPY, two in EUR, three in KWD; None if it has no minor unit, as gold.
    is_current
        Whether ISO 4217 lists it today.
    first_on, last_on
        First and last day on which it was tender anywhere; None if unknown, or if it still is tender.
    """

    code: str
    decimals: int | None
    is_current: bool
    first_on: date | None = None
    last_on: date | None = None

    def was_booked_on(self, day: date) -> bool:
        """Return whether money in this currency may be dated on a day; in a currency of today it always may."""
        if self.is_current:
            return True
        is_early = self.first_on is not None and day < self.first_on
        return not is_early and (self.last_on is None or day <= self.last_on + LATE_BOOKINGS)


@cache
def currencies() -> dict[str, Currency]:
    """Return every currency that is valid or was, by code."""
    from iso4217 import Currency as Iso4217

    current = {each.code: Currency(each.code, each.exponent, is_current=True) for each in Iso4217}
    return {**_former_currencies(), **current}


@cache
def decimals_by_code() -> dict[str, int | None]:
    """Return the decimals of the minor unit of each currency that is valid or was."""
    return {code: currency.decimals for code, currency in currencies().items()}


def _former_currencies() -> dict[str, Currency]:
    """Return the currencies that CLDR knows, by code, each with the days on which it was tender in any territory.

    The offshore yuan, which ISO never listed, is left out: it is the only one that is no tender and has no last day.
    """
    from babel.core import get_global

    fractions = get_global("currency_fractions")
    spans: dict[str, list[tuple[date | None, date | None]]] = {}
    for periods in get_global("territory_currencies").values():
        for code, first, last, is_tender in periods:
            if is_tender or last is not None:
                spans.setdefault(code, []).append((first and date(*first), last and date(*last)))
    return {
        code: Currency(
            code,
            decimals=fractions.get(code, fractions["DEFAULT"])[0],
            is_current=False,
            first_on=_earliest([first for first, _ in periods]),
            last_on=_latest([last for _, last in periods]),
        )
        for code, periods in spans.items()
    }


def _earliest(days: list[date | None]) -> date | None:
    """Return the first of some days; None if one of them is unknown."""
    known = [day for day in days if day is not None]
    return min(known) if len(known) == len(days) else None


def _latest(days: list[date | None]) -> date | None:
    """Return the last of some days; None if one of them is not over yet."""
    known = [day for day in days if day is not None]
    return max(known) if len(known) == len(days) else None
