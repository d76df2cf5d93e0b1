"""When a circuit breaker opens, is probed, and closes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl.notify.health.breaker import CHANNEL, PROBES, Answers, Breaker, begin_probe, count

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def refused(messages: int, *, accepted: int = 0, is_certain: bool = False) -> Answers:
    return Answers(accepted, messages, streak=messages, is_certain=is_certain, error_class="550", reason="550 5.1.1 no")


def put_off(messages: int) -> Answers:
    return Answers(put_off=messages, streak=messages / 5, is_certain=True, error_class="421", reason="421 busy")


def make_breaker(destination: str = "ill.example") -> Breaker:
    return Breaker("email", destination, START)


def opened(destination: str = "ill.example") -> Breaker:
    breaker = count(make_breaker(destination), refused(50), as_of=START)
    assert breaker.is_open
    return breaker


def probed(breaker: Breaker, answers: Answers) -> Breaker:
    """Return a breaker after the answers to a probe that was due."""
    assert breaker.probe_at is not None
    return count(begin_probe(breaker, as_of=breaker.probe_at), answers, as_of=breaker.probe_at)


def test_ten_refusals_in_a_row_open_a_destination() -> None:
    breaker = count(make_breaker(), refused(9), as_of=START)
    assert not breaker.is_open
    breaker = count(breaker, refused(1), as_of=START + SECOND)
    assert (breaker.state, breaker.reason, breaker.opened_at) == ("open", "550 5.1.1 no", START + SECOND)


def test_an_accepted_message_ends_a_streak() -> None:
    breaker = make_breaker()
    for second in range(20):
        breaker = count(breaker, refused(4, accepted=20), as_of=START + second * SECOND)
        assert not breaker.is_open


def test_single_bad_addresses_never_open_a_breaker() -> None:
    breaker = make_breaker()
    for second in range(1_000):
        answers = Answers(95, 5, streak=second % 6, error_class="550", reason="550 5.1.1 no")
        breaker = count(breaker, answers, as_of=START + second * SECOND)
        assert not breaker.is_open


def test_half_of_fifty_open_a_destination_although_some_are_accepted() -> None:
    answers = Answers(25, 25, streak=3, error_class="550", reason="550 no")
    assert count(make_breaker(), answers, as_of=START).is_open
    assert not count(make_breaker(), Answers(26, 25, streak=3), as_of=START).is_open


def test_a_page_of_refusals_opens_a_breaker_that_was_healthy_for_long() -> None:
    breaker = make_breaker()
    for second in range(100):
        breaker = count(breaker, Answers(accepted=500), as_of=START + second * SECOND)
    answers = Answers(24, 26, streak=2, error_class="550", reason="550 no")
    assert count(breaker, answers, as_of=START + 100 * SECOND).is_open


def test_old_refusals_count_no_more() -> None:
    answers = Answers(20, 29, streak=9, error_class="550", reason="550 no")
    breaker = count(make_breaker(), answers, as_of=START)
    later = count(breaker, Answers(20, 1, streak=1), as_of=START + timedelta(hours=1))
    assert not later.is_open


def test_a_channel_is_not_held_for_one_large_destination() -> None:
    breaker = make_breaker(CHANNEL)
    for second in range(100):
        breaker = count(breaker, refused(8, accepted=2), as_of=START + second * SECOND)
        assert not breaker.is_open


def test_a_channel_is_held_if_nothing_gets_through() -> None:
    assert count(make_breaker(CHANNEL), refused(50), as_of=START).is_open
    assert not count(make_breaker(CHANNEL), refused(49), as_of=START).is_open


def test_refusals_by_the_server_itself_hold_a_channel_sooner() -> None:
    assert count(make_breaker(CHANNEL), refused(10, is_certain=True), as_of=START).is_open


def test_a_server_that_limits_the_rate_opens_nothing() -> None:
    breaker = make_breaker()
    for second in range(100):
        answers = Answers(accepted=5, put_off=45, streak=9, is_certain=True, error_class="454", reason="454 slow down")
        breaker = count(breaker, answers, as_of=START + second * SECOND)
        assert not breaker.is_open


def test_a_server_that_takes_nothing_for_now_opens_a_breaker() -> None:
    assert not count(make_breaker(), put_off(49), as_of=START).is_open
    assert count(make_breaker(), put_off(50), as_of=START).is_open


def test_refused_probes_double_the_wait_up_to_a_maximum() -> None:
    breaker = opened()
    waits = []
    for _ in range(9):
        assert breaker.probe_at is not None
        before = breaker.probe_at
        breaker = probed(breaker, refused(PROBES))
        assert breaker.opened_at == START
        assert breaker.probe_at is not None
        waits.append((breaker.probe_at - before).total_seconds())
    assert waits == [30, 60, 120, 240, 480, 900, 900, 900, 900]


def test_accepted_probes_close_it() -> None:
    closed = probed(opened(), Answers(accepted=2, refused=1, streak=1))
    assert (closed.is_open, closed.streak, closed.attempts) == (False, 0, 0)


def test_most_probes_must_be_accepted_by_a_destination_but_only_one_by_a_channel() -> None:
    answers = Answers(accepted=1, refused=2, streak=2, reason="550 no")
    assert probed(opened(), answers).is_open
    assert not probed(opened(CHANNEL), answers).is_open


def test_greylisted_probes_close_it_since_the_destination_answers_again() -> None:
    assert not probed(opened(), Answers(postponed=3)).is_open


def test_answers_to_messages_that_were_sent_before_it_opened_change_nothing() -> None:
    breaker = opened()
    assert count(breaker, refused(100), as_of=START + SECOND) == breaker
    assert count(breaker, Answers(accepted=1), as_of=START + SECOND) == breaker


def test_a_probe_without_answers_is_repeated() -> None:
    breaker = begin_probe(opened(), as_of=START + 15 * SECOND)
    assert not breaker.is_probe_due(START + 16 * SECOND)
    assert breaker.is_probe_due(START + 31 * SECOND)


def test_a_breaker_that_opens_again_soon_waits_longer() -> None:
    again = count(probed(opened(), Answers(accepted=3)), refused(10), as_of=START + 20 * SECOND)
    assert again.probe_at == START + 50 * SECOND


def test_a_breaker_is_forgotten_only_when_it_was_healthy_for_a_while() -> None:
    breaker = count(make_breaker(), refused(1), as_of=START)
    assert not breaker.is_forgettable(START + timedelta(minutes=9))
    assert breaker.is_forgettable(START + timedelta(minutes=11))
    assert not opened().is_forgettable(START + timedelta(days=1))


@pytest.mark.parametrize("split", [1, 5, 9])
def test_answers_together_say_the_same_as_one_after_the_other(split: int) -> None:
    together = refused(split).followed_by(refused(10 - split))
    assert count(make_breaker(), together, as_of=START).is_open
    interrupted = refused(split).followed_by(Answers(accepted=1)).followed_by(refused(10 - split))
    assert not count(make_breaker(), interrupted, as_of=START).is_open


def test_many_uninstalled_applications_hold_no_push_service() -> None:
    breaker = Breaker("desktop", "push.example", START)
    for second in range(100):
        breaker = count(breaker, refused(15, accepted=5), as_of=START + second * SECOND)
        assert not breaker.is_open
    assert count(breaker, refused(10, is_certain=True), as_of=START + 101 * SECOND).is_open
