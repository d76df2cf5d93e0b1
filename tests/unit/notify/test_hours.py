"""Send windows by the clocks of recipients, also on days on which these clocks jump."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.declare.timing.window import SendWindow
from etl.notify.timing.hours import next_allowed

MINUTE = timedelta(minutes=1)
DAYTIME = SendWindow(earliest=time(8), latest=time(20))
START = datetime(2011, 12, 1, tzinfo=UTC)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca")


def is_within(instant: datetime, zone: ZoneInfo, window: SendWindow) -> bool:
    local = instant.astimezone(zone)
    return local.isoweekday() in window.weekdays and window.earliest <= local.time() < window.latest


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


@st.composite
def windows(draw: st.DrawFn) -> SendWindow:
    first, last = sorted(draw(st.lists(st.integers(0, 24 * 60 - 1), min_size=2, max_size=2, unique=True)))
    weekdays = draw(st.sets(st.integers(1, 7), min_size=1))
    return SendWindow(
        earliest=time(*divmod(first, 60)), latest=time(*divmod(last, 60)), weekdays=tuple(sorted(weekdays))
    )


@given(
    now=st.integers(0, 366 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    window=windows(),
)
def test_the_next_allowed_instant_is_the_first_within_the_window(
    now: datetime, zone: ZoneInfo, window: SendWindow
) -> None:
    allowed = next_allowed(now, zone, window)
    assert allowed >= now
    assert is_within(allowed, zone, window)
    step = max(MINUTE, (allowed - now) / 500)
    assert not any(is_within(now + step * index, zone, window) for index in range(500) if now + step * index < allowed)
    assert allowed == now or not is_within(allowed - MINUTE, zone, window)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-04T07:59:59", "2026-11-04T08:00"),
        ("2026-11-04T08:00", "2026-11-04T08:00"),
        ("2026-11-04T19:59:59", "2026-11-04T19:59:59"),
        ("2026-11-04T20:00", "2026-11-05T08:00"),
        ("2026-03-28T22:00", "2026-03-29T08:00"),
        ("2026-10-24T22:00", "2026-10-25T08:00"),
    ],
)
def test_messages_wait_for_eight_o_clock_also_when_the_clock_changes_in_the_night(now: str, expected: str) -> None:
    assert next_allowed(berlin(now), ZoneInfo("Europe/Berlin"), DAYTIME) == berlin(expected)


def test_a_window_within_the_hour_that_is_skipped_opens_the_next_day() -> None:
    window = SendWindow(earliest=time(2, 10), latest=time(2, 50))
    assert next_allowed(berlin("2026-03-29T01:00"), ZoneInfo("Europe/Berlin"), window) == berlin("2026-03-30T02:10")


def test_a_window_that_opens_within_the_hour_that_is_skipped_opens_after_it() -> None:
    window = SendWindow(earliest=time(2, 30), latest=time(5))
    assert next_allowed(berlin("2026-03-29T01:00"), ZoneInfo("Europe/Berlin"), window) == berlin("2026-03-29T03:00")


def test_a_window_within_the_hour_that_is_repeated_is_open_twice() -> None:
    window = SendWindow(earliest=time(2, 10), latest=time(2, 50))
    first = datetime(2026, 10, 25, 0, 10, tzinfo=UTC)
    after_first = first + timedelta(minutes=45)
    assert next_allowed(first - MINUTE, ZoneInfo("Europe/Berlin"), window) == first
    assert next_allowed(after_first, ZoneInfo("Europe/Berlin"), window) == first + timedelta(hours=1)


def test_nothing_is_sent_on_a_day_that_is_not_listed() -> None:
    window = SendWindow(earliest=time(8), latest=time(20), weekdays=(1, 2, 3, 4, 5))
    friday_evening = berlin("2026-11-06T20:00")
    assert next_allowed(friday_evening, ZoneInfo("Europe/Berlin"), window) == berlin("2026-11-09T08:00")


def test_a_day_that_does_not_exist_is_passed() -> None:
    zone, friday = ZoneInfo("Pacific/Apia"), SendWindow(earliest=time(8), latest=time(20), weekdays=(5,))
    thursday = datetime(2011, 12, 29, 12, tzinfo=zone)
    assert next_allowed(thursday, zone, friday).astimezone(zone).date() == date(2012, 1, 6)
