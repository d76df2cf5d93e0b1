"""How long a deferred message waits before it is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from etl.notify.deferral.backoff import MAX_WINDOW, MIN_WAIT, next_wait

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def mean(tries: int, **options: timedelta) -> timedelta:
    wait = next_wait(tries, jitter=0.5, **options)
    assert wait is not None
    return wait


def test_wait_is_about_a_minute_at_first_and_doubles_up_to_hours() -> None:
    waits = [mean(tries) - MIN_WAIT for tries in range(1, 9)]
    assert waits == [MINUTE * minutes for minutes in (1, 2, 4, 8, 16, 32, 64, 120)]
    assert mean(1_000) - MIN_WAIT == MAX_WINDOW / 2


def test_jitter_spreads_waits_over_the_whole_window() -> None:
    assert next_wait(3, jitter=0) == MIN_WAIT
    assert next_wait(3, jitter=1) == 8 * MINUTE + MIN_WAIT


@pytest.mark.parametrize("tries", [1, 5, 20])
def test_wait_is_never_shorter_than_the_server_asked(tries: int) -> None:
    assert next_wait(tries, jitter=0, asked=6 * HOUR) == 6 * HOUR
    assert mean(tries, asked=6 * HOUR) > 6 * HOUR


def test_last_try_fits_into_the_time_left() -> None:
    assert next_wait(10, jitter=1, time_left=5 * MINUTE) == 5 * MINUTE
    assert next_wait(1, jitter=1, asked=3 * MINUTE, time_left=4 * MINUTE) == 4 * MINUTE


@pytest.mark.parametrize(
    ("asked", "time_left"), [(HOUR, HOUR), (HOUR, MINUTE), (None, timedelta(0)), (None, -MINUTE), (None, MIN_WAIT)]
)
def test_nothing_is_tried_again_after_its_time(asked: timedelta | None, time_left: timedelta) -> None:
    assert next_wait(1, jitter=0, asked=asked, time_left=time_left) is None


def test_server_that_asks_for_no_wait_is_not_asked_again_at_once() -> None:
    assert next_wait(1, jitter=0, asked=timedelta(0)) == MIN_WAIT
