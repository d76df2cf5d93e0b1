"""Declared windows, caps, time zones and locales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from etl.catalog.notices.fraud_alert.notice import FRAUD_ALERT
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.declare.notice import Cap, Category, Consent, SendWindow
from etl.declare.timing.locales import find_locale, to_tag
from etl.declare.timing.zones import find_zone
from etl.errors import DeclarationError
from etl.notify.timing.schedule import Schedule
from etl.notify.timing.spreading import MIN_PACE, spread_pace

DAYTIME = SendWindow(earliest=time(8), latest=time(20))
CAP = Cap(count=3, per=timedelta(days=7))


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: SendWindow(earliest=time(20), latest=time(8)), "later than earliest"),
        (lambda: SendWindow(earliest=time(8), latest=time(8)), "later than earliest"),
        (lambda: SendWindow(earliest=time(8, tzinfo=UTC), latest=time(9)), "recipient's is used"),
        (lambda: SendWindow(earliest=time(8), latest=time(9), weekdays=()), "weekdays is empty"),
        (lambda: SendWindow(earliest=time(8), latest=time(9), weekdays=(0, 1)), "1, Monday, to 7, Sunday"),
        (lambda: SendWindow(earliest=time(8), latest=time(9), weekdays=(1, 1)), "different days"),
        (lambda: Cap(count=0, per=timedelta(days=1)), "at least 1|between 1"),
        (lambda: Cap(count=1, per=timedelta()), "longer than 0"),
        (lambda: Cap(count=1, per=timedelta(days=91)), "at most 90 days"),
        (lambda: Category("alerts", Consent.NONE, window=DAYTIME), "sent at once"),
        (lambda: Category("alerts", Consent.NONE, cap=CAP), "sent at once"),
        (lambda: replace(FRAUD_ALERT, window=DAYTIME), "sent at once"),
        (lambda: replace(MONTHLY_REPORT, time_zone="Europe/Atlantis"), "Europe/Vienna"),
        (lambda: replace(MONTHLY_REPORT, locale="de_AT"), "de-AT"),
        (lambda: replace(MONTHLY_REPORT, approval_above=-1), "at least 0"),
        (lambda: replace(MONTHLY_REPORT, expiry=timedelta(hours=2), spread=timedelta(hours=2)), "shorten spread"),
    ],
)
def test_a_wrong_declaration_of_timing_is_refused(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare()


def test_the_window_of_a_notice_replaces_that_of_its_category() -> None:
    evening = SendWindow(earliest=time(18), latest=time(20))
    category = Category("news", Consent.OPT_OUT, window=DAYTIME)
    assert replace(MONTHLY_REPORT, category=category).send_window == DAYTIME
    assert replace(MONTHLY_REPORT, category=category, window=evening).send_window == evening


@pytest.mark.parametrize("name", ["", None, "Europe/Atlantis", "../../etc/passwd", "America", "x" * 5_000, "Europe/\0"])
def test_a_name_that_is_no_time_zone_is_none(name: str | None) -> None:
    assert find_zone(name) is None


@pytest.mark.parametrize("name", [None, "Europe/Atlantis", "America"])
def test_a_recipient_of_an_unknown_zone_is_written_to_by_the_clock_of_the_notice(name: str | None) -> None:
    schedule = Schedule(replace(MONTHLY_REPORT, window=DAYTIME, time_zone="Asia/Tokyo"))
    night_in_tokyo = datetime(2026, 11, 4, 20, tzinfo=UTC)
    assert schedule.not_before(name, night_in_tokyo) == datetime(2026, 11, 4, 23, tzinfo=UTC)
    assert schedule.not_before("Europe/London", night_in_tokyo - timedelta(hours=1)) is None


def test_an_announcement_waits_for_no_window() -> None:
    notice, night = replace(MONTHLY_REPORT, window=DAYTIME), datetime(2026, 11, 4, 3, tzinfo=UTC)
    assert Schedule(notice).not_before("Europe/London", night) is not None
    assert Schedule(notice, is_urgent=True).not_before("Europe/London", night) is None


@pytest.mark.parametrize(
    ("tag", "expected"),
    [("de-AT", "de-AT"), ("DE_at", "de-AT"), ("de-XX", "de"), ("zh-TW", "zh-Hant-TW"), ("sr-Latn-RS", "sr-Latn-RS")],
)
def test_as_much_of_a_locale_is_used_as_is_known(tag: str, expected: str) -> None:
    found = find_locale(tag)
    assert found is not None
    assert to_tag(found) == expected


@pytest.mark.parametrize("tag", [None, "", "xx", "*", "../../x", "é", "x" * 5_000, "de\0", "-", "  "])
def test_a_malformed_locale_is_none(tag: str | None) -> None:
    assert find_locale(tag) is None


def test_a_spread_run_takes_the_declared_time_and_is_never_faster_than_its_pace() -> None:
    notice = replace(MONTHLY_REPORT, pace=100, spread=timedelta(hours=4))
    assert spread_pace(notice, 144_000) == pytest.approx(10)
    assert spread_pace(notice, 10_000_000) == 100
    assert spread_pace(notice, 1) == MIN_PACE
    assert spread_pace(replace(notice, spread=None), 1) == 100
