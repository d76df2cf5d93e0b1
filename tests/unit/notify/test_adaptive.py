"""Limits that adapt to what a server takes."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from etl.notify.channels.adaptive import AdaptiveLimit, Signal


def play(limit: AdaptiveLimit, *signals: Signal, at: float, in_flight: int = 1, asked: timedelta | None = None) -> None:
    """Start so many messages, and finish as many as there are signals; the others stay in flight."""
    while limit.in_flight < max(in_flight, len(signals)):
        limit.start(at)
    for signal in signals:
        limit.finish(signal, started_at=at, now=at, retry_after=asked)


def test_a_throttled_server_gets_half_as_many_messages_at_a_time_once_for_all_that_were_in_flight() -> None:
    limit = AdaptiveLimit(8)
    play(limit, Signal.THROTTLED, at=0, in_flight=8)
    assert (limit.concurrency, limit.wait(0)) == (4, 0.25)
    for _ in range(7):
        limit.finish(Signal.THROTTLED, started_at=-0.1, now=0.1)
    assert (limit.concurrency, limit.wait(0.1)) == (4, 0.15)
    play(limit, Signal.THROTTLED, at=1)
    assert (limit.concurrency, limit.wait(1)) == (2, 0.5)


def test_a_throttled_server_gets_a_share_of_the_rate_that_it_accepted() -> None:
    limit = AdaptiveLimit(8)
    for tick in range(101):
        play(limit, Signal.ANSWERED, at=tick / 100)
    assert limit.rate == math.inf
    play(limit, Signal.THROTTLED, at=1.01)
    assert limit.rate == pytest.approx(70, rel=0.05)
    assert limit.concurrency == 8
    limit.start(2)
    assert limit.wait(2) == pytest.approx(1 / limit.rate)


def test_a_rate_grows_back_slowly_and_only_with_answers() -> None:
    limit = AdaptiveLimit(8)
    for tick in range(101):
        play(limit, Signal.ANSWERED, at=tick / 100)
    play(limit, Signal.THROTTLED, at=1.01)
    throttled = limit.rate
    play(limit, Signal.FAULTY, at=1.5)
    assert limit.rate == throttled
    for tick in range(50):
        play(limit, Signal.ANSWERED, at=2 + tick / 10)
    assert throttled * 1.2 < limit.rate < throttled * 1.6


def test_a_cap_on_connections_is_learnt_and_one_more_is_tried_later() -> None:
    limit = AdaptiveLimit(8)
    play(limit, *[Signal.NOT_CONNECTED] * 5, at=0, in_flight=8)
    assert (limit.concurrency, limit.in_flight, limit.wait(0)) == (3, 3, 0)
    play(limit, Signal.ANSWERED, at=14)
    assert limit.concurrency == 3
    play(limit, Signal.ANSWERED, Signal.ANSWERED, at=16)
    assert limit.concurrency == 4


def test_a_refused_connection_pauses_no_server_that_keeps_another_open() -> None:
    limit = AdaptiveLimit(2)
    play(limit, Signal.CAPPED, at=0)
    assert (limit.concurrency, limit.wait(0)) == (1, 0)
    play(limit, Signal.CAPPED, at=1)
    assert (limit.concurrency, limit.wait(1)) == (1, 0)


def test_a_server_that_accepts_no_connection_at_all_is_left_alone_and_then_tried_with_one() -> None:
    limit = AdaptiveLimit(8)
    play(limit, *[Signal.NOT_CONNECTED] * 8, at=0, in_flight=8)
    assert (limit.concurrency, limit.wait(0)) == (1, 30)
    play(limit, Signal.NOT_CONNECTED, at=30)
    assert limit.wait(30) == 60
    for tick in range(6):
        play(limit, Signal.ANSWERED, at=90 + tick)
    assert (limit.concurrency, limit.wait(96)) == (4, 0)


@pytest.mark.parametrize(("asked", "wait"), [(timedelta(seconds=60), 60), (timedelta(days=9), 3600)])
def test_a_server_gets_the_pause_that_it_asked_for_up_to_an_hour(asked: timedelta, wait: float) -> None:
    limit = AdaptiveLimit(8)
    play(limit, Signal.THROTTLED, at=0, asked=asked)
    assert limit.wait(0) == wait


def test_errors_of_single_messages_pause_no_server_but_five_in_a_row_do() -> None:
    limit = AdaptiveLimit(8)
    hour = timedelta(hours=1)
    for at in range(9):
        play(limit, *[Signal.FAULTY] * 4, Signal.ANSWERED, at=at, asked=hour)
    assert (limit.wait(9), limit.concurrency) == (0, 8)
    play(limit, *[Signal.FAULTY] * 5, at=10, asked=hour)
    assert (limit.wait(10), limit.concurrency) == (3600, 1)


def test_a_silent_server_is_left_alone_for_longer_each_time_until_it_answers() -> None:
    limit, at, waits = AdaptiveLimit(8), 0.0, []
    for _ in range(6):
        play(limit, Signal.SILENT, at=at)
        waits.append(limit.wait(at))
        at += waits[-1]
    assert waits == [30, 60, 120, 240, 300, 300]
    play(limit, Signal.ANSWERED, at=at)
    play(limit, Signal.SILENT, at=at + 1)
    assert limit.wait(at + 1) == 30


def test_an_unknown_server_gets_one_message_and_one_more_for_each_answer() -> None:
    limit = AdaptiveLimit(4, is_proven=False)
    assert (limit.concurrency, limit.is_proven) == (1, False)
    counts = []
    for at in range(5):
        play(limit, Signal.ANSWERED, at=at)
        counts.append(limit.concurrency)
    assert (counts, limit.is_proven) == ([2, 3, 4, 4, 4], True)


def test_a_message_that_was_not_sent_says_nothing_of_a_server() -> None:
    limit = AdaptiveLimit(4, is_proven=False)
    play(limit, Signal.NOT_SENT, at=0)
    assert (limit.in_flight, limit.concurrency, limit.is_proven, limit.wait(0)) == (0, 1, False, 0)
