import subprocess
import sys
from datetime import date, timedelta

import babel.core
import pytest

from etl import currency
from etl.currency import LATE_BOOKINGS, currencies, decimals_by_code

FORMER = ("BGN", "HRK", "BYR", "LTL", "VEF", "ZWL", "EEK", "DEM", "ANG", "SLL", "MRO")


@pytest.mark.parametrize("code", FORMER)
def test_a_former_currency_is_known_with_its_days(code: str) -> None:
    currency = currencies()[code]
    assert not currency.is_current
    assert currency.first_on is not None
    assert currency.was_booked_on(currency.first_on)
    assert not currency.was_booked_on(currency.first_on - timedelta(days=1))


def test_a_former_currency_is_booked_until_a_year_after_its_last_day() -> None:
    kuna = currencies()["HRK"]
    assert kuna.last_on == date(2023, 1, 14)
    assert kuna.was_booked_on(kuna.last_on + LATE_BOOKINGS)
    assert not kuna.was_booked_on(kuna.last_on + LATE_BOOKINGS + timedelta(days=1))


def test_the_days_of_a_currency_are_those_of_all_its_territories() -> None:
    guilder = currencies()["ANG"]
    assert (guilder.first_on, guilder.last_on) == (date(1940, 5, 10), date(2025, 6, 30))


def test_a_currency_lasts_from_its_first_day_anywhere_until_its_last_and_unknown_days_are_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists = {
        "currency_fractions": {"DEFAULT": (2, 0, 2, 0)},
        "territory_currencies": {
            "AA": [("ONE", (1990, 1, 1), (2000, 1, 1), True), ("TWO", (1990, 1, 1), (2000, 1, 1), True)],
            "BB": [("ONE", (1980, 1, 1), (1995, 1, 1), True), ("TWO", None, None, True)],
        },
    }
    monkeypatch.setattr(babel.core, "get_global", lists.get)
    former = currency.currencies.__wrapped__()
    assert (former["ONE"].first_on, former["ONE"].last_on) == (date(1980, 1, 1), date(2000, 1, 1))
    assert (former["TWO"].first_on, former["TWO"].last_on) == (None, None)


def test_a_currency_whose_end_nobody_recorded_has_none() -> None:
    assert currencies()["BGN"].was_booked_on(date(2040, 1, 1))


def test_a_currency_of_today_is_valid_on_every_day() -> None:
    today = [currency for currency in currencies().values() if currency.is_current]
    assert len(today) > 150
    assert all(each.was_booked_on(day) for each in today for day in (date.min, date(2030, 1, 1), date.max))


def test_decimals_are_those_of_iso_today_and_of_cldr_before() -> None:
    codes = ("USD", "JPY", "KWD", "AFN", "CLF", "XAU", "HRK", "BYR", "ITL")
    assert [decimals_by_code()[code] for code in codes] == [2, 0, 3, 2, 4, None, 2, 0, 0]


@pytest.mark.parametrize("code", ["CNH", "BTC", "usd", "ZZZ", "", "DEFAULT"])
def test_what_iso_never_listed_is_no_currency(code: str) -> None:
    assert code not in currencies()


def test_a_declaration_that_checks_currencies_does_not_read_the_lists() -> None:
    program = "import sys, etl.catalog.entities; sys.exit(bool({'babel', 'iso4217'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", program], check=True)
