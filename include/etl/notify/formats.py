"""Formats: filters of templates that write numbers, money, dates and times as a recipient does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, tzinfo
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context

from etl.currency import decimals_by_code
from etl.declare.timing.locales import find_locale
from etl.errors import DeclarationError
from etl.safe_text import mark_amount, mark_number, mark_ours

if TYPE_CHECKING:
    from babel import Locale
    from babel.numbers import NumberPattern

_DEFAULT_DECIMALS = 2
_MAX_DIGITS = 200
"""More than any amount has that a bank may send; a number of more is an error, as for `Decimal` itself."""
_NAMED_FORMATS = ("short", "medium", "long", "full")


class Formatter:
    """Formats values in the locale and time zone of the recipient whose message is being rendered.

    The filters take a context only so that Jinja does not apply them to constants when it compiles a template, which
    would be in the locale of nobody.

    Parameters
    ----------
    locale, time_zone
        Those of the first recipient; see `use`.
    """

    def __init__(self, locale: str = "en", time_zone: str = "UTC") -> None:
        self.use(locale, time_zone)

    def use(self, locale: str, time_zone: str) -> None:
        """Format in another locale and time zone from now on; both must be known."""
        self._locale = _require_known(locale)
        self._zone: tzinfo = ZoneInfo(time_zone)

    @property
    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters, by the names that templates use."""
        return {
            "money": self.format_money,
            "number": self.format_number,
            "date": self.format_date,
            "time": self.format_time,
            "datetime": self.format_datetime,
        }

    @pass_context
    def format_money(self, _: Context, amount: str | Decimal, currency: str) -> str:
        """Return an amount with as many decimals as its currency has, such as `1,234.50 USD`."""
        return mark_amount(format_money(amount, currency, self._locale), currency)

    @pass_context
    def format_number(self, _: Context, number: str | int | Decimal, decimals: int | None = None) -> str:
        """Return a number, such as `1,234.5`; with as many decimals as it has, unless their count is given."""
        value = Decimal(number)
        exponent = value.as_tuple().exponent
        own_decimals = max(0, -exponent) if isinstance(exponent, int) else 0
        return mark_number(_format_decimal(value, own_decimals if decimals is None else decimals, self._locale))

    @pass_context
    def format_date(self, _: Context, day: date | datetime | str, style: str = "long") -> str:
        """Return a day, such as `1 October 2026`; of an instant, the day that it is where the recipient is.

        Parameters
        ----------
        day
            A date or an instant; as text, in ISO 8601.
        style
            `short`, `medium`, `long` or `full`; or the fields to show, in the letters of CLDR: `yMMMM` for
            `October 2026`.
        """
        from babel.dates import format_date, format_skeleton

        value = self._localize(day)
        if style in _NAMED_FORMATS:
            return mark_ours(format_date(value, style, locale=self._locale))
        return mark_ours(format_skeleton(style, value, locale=self._locale))

    @pass_context
    def format_time(self, _: Context, instant: datetime | str, style: str = "short") -> str:
        """Return the time of an instant where the recipient is, such as `9:30 AM`."""
        from babel.dates import format_time

        return mark_ours(format_time(_parse_instant(instant), style, tzinfo=self._zone, locale=self._locale))

    @pass_context
    def format_datetime(self, _: Context, instant: datetime | str, style: str = "long") -> str:
        """Return the day and time of an instant where the recipient is; `style` as in `format_date`."""
        from babel.dates import format_datetime

        return mark_ours(format_datetime(_parse_instant(instant), style, tzinfo=self._zone, locale=self._locale))

    def _localize(self, value: date | datetime | str) -> date | datetime:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(parsed, datetime) and parsed.tzinfo is not None:
            return parsed.astimezone(self._zone)
        return parsed


def format_money(amount: str | Decimal, currency: str, locale: Locale | None = None) -> str:
    """Return an amount with as many decimals as its currency has, and with its code, which no other currency shares."""
    decimals = decimals_by_code().get(currency)
    number = _format_decimal(
        Decimal(amount), _DEFAULT_DECIMALS if decimals is None else decimals, locale or _require_known("en")
    )
    return f"{number} {currency}"


def _parse_instant(instant: datetime | str) -> datetime:
    return datetime.fromisoformat(instant) if isinstance(instant, str) else instant


def _format_decimal(value: Decimal, decimals: int, locale: Locale) -> str:
    with localcontext(prec=_MAX_DIGITS):
        return str(_decimal_pattern(locale, decimals).apply(value, locale))


@lru_cache(maxsize=1_024)
def _decimal_pattern(locale: Locale, decimals: int) -> NumberPattern:
    """Return how a locale groups digits, with a fixed number of decimals."""
    from babel.numbers import parse_pattern

    pattern = parse_pattern(locale.decimal_formats[None].pattern)
    pattern.frac_prec = (decimals, decimals)
    return pattern


def _require_known(tag: str) -> Locale:
    locale = find_locale(tag)
    if locale is None:
        raise DeclarationError(f"there is no locale {tag!r}; write a language, or a language and a region, as in de-AT")
    return locale
