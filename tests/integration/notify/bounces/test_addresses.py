"""When addresses are ended: by enough bounces on enough days, and never by a wave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from etl.db.connection import Connection
from etl.notify.bounces.settle import settle_bounces
from etl.notify.bounces.store import contacts
from etl.notify.channels.channel import SendOutcome, SendResult
from etl.notify.health.gate import BreakerGate
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address

Rows = Callable[..., list[tuple[object, ...]]]
GONE = SendResult(0, SendOutcome.FAILED, "550", "5.1.1 no such user", is_address_invalid=True)
FULL = SendResult(0, SendOutcome.FAILED, "552", "5.2.2 mailbox full")
ENDED = "select user_id, ended_for from notify.contacts where ended_at is not null order by user_id"


def settle(db: Connection, **options: Any) -> int:
    """Settle as if it were two hours later, when the hour of what was just sent is over."""
    return settle_bounces(db=db, as_of=datetime.now(UTC) + timedelta(hours=2), **options)


def pass_days(db: Connection, days: float) -> None:
    """Let what was sent and said so far have been some days earlier."""
    for table, column in (("bounces", "tried_at"), ("bounces", "accepted_at"), ("deliveries", "claimed_at")):
        change = SQL("update notify.{table} set {column} = {column} - make_interval(hours => %s)")
        db.execute(change.format(table=Identifier(table), column=Identifier(column)), (round(days * 24),))


def send_period(post: NoticeHarness, number: int, answers: dict[str, SendResult]) -> None:
    post.mailbox.answers = {address: [answer] for address, answer in answers.items()}
    post.send_all(period=f"2026-{number:02}")


@pytest.fixture(autouse=True)
def no_breakers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a wave through, as before a circuit breaker opens."""
    monkeypatch.setattr(BreakerGate, "review", lambda _self, _channel, results: results)


@pytest.fixture
def user(post: NoticeHarness) -> int:
    """Return one of ten users of a mail domain; the others get their mails."""
    return post.enrol(10)[0]


def send_series(post: NoticeHarness, user: int, series: Sequence[tuple[float, SendResult | None]]) -> None:
    """Send a mail to everybody for each item: days since the one before, and what the server says to this user."""
    for number, (days, answer) in enumerate(series, 1):
        pass_days(post.db, days)
        send_period(post, number, {} if answer is None else {address(user): answer})
        settle(post.db)


@pytest.mark.parametrize(
    ("series", "ended_for"),
    [
        ([(0, GONE)], None),
        ([(0, GONE), (2, GONE)], None),
        ([(0, GONE), (4, GONE)], "550"),
        ([(0, GONE), (2, GONE), (2, GONE)], "550"),
        ([(0, GONE), (4, None), (4, GONE)], None),
        ([(0, GONE), (200, GONE)], None),
        ([(0, FULL), (4, FULL), (4, FULL)], None),
        ([(0, FULL), (8, FULL), (8, FULL), (8, FULL)], "552"),
        ([(0, FULL), (8, FULL), (8, None), (8, FULL)], None),
        ([(0, FULL), (1, FULL), (1, FULL), (1, FULL)], None),
    ],
)
def test_an_address_ends_after_enough_bounces_on_days_far_enough_apart_without_a_delivery_between(
    post: NoticeHarness, user: int, rows: Rows, series: list[tuple[float, SendResult | None]], ended_for: str | None
) -> None:
    send_series(post, user, series)
    assert rows(ENDED) == ([] if ended_for is None else [(user, ended_for)])
    events = rows("select event, reason, actor from notify.contact_events")
    assert events == ([] if ended_for is None else [("ended", ended_for, "bounces")])


def test_a_refused_message_says_nothing_about_its_address(post: NoticeHarness, user: int, rows: Rows) -> None:
    spam = SendResult(0, SendOutcome.FAILED, "550", "5.7.1 looks like spam")
    large = SendResult(0, SendOutcome.FAILED, "552", "5.2.3 too large")
    send_series(post, user, [(0, spam), (8, large), (8, spam), (8, spam)])
    assert rows("select * from notify.bounces") == []


def test_between_two_bounces_an_address_is_still_used(post: NoticeHarness, user: int) -> None:
    send_series(post, user, [(0, GONE), (1, None)])
    assert post.mailbox.addresses[address(user)] == 1


def test_a_wave_at_a_destination_ends_nobody_however_often_it_comes(post: NoticeHarness, rows: Rows) -> None:
    users = post.enrol(2_000)
    post.notice = replace(FAST, pace=1_000_000, chunk_size=1_000)
    for number in (1, 2):
        send_period(post, number, dict.fromkeys(map(address, users), GONE))
        assert settle(post.db) == 0
        pass_days(post.db, 10)
    assert rows("select counts, count(*) from notify.bounces group by counts") == [(False, 4_000)]
    assert rows(ENDED) == []


def test_dead_addresses_of_a_large_list_end_although_they_are_many(post: NoticeHarness, rows: Rows) -> None:
    users = post.enrol(200)
    post.notice = replace(FAST, pace=1_000_000, chunk_size=1_000)
    dead = users[::20]
    for number in (1, 2):
        send_period(post, number, dict.fromkeys(map(address, dead), GONE))
        settle(post.db)
        pass_days(post.db, 4)
    assert rows(ENDED) == [(user, "550") for user in dead]


def test_a_wave_at_one_domain_does_not_protect_the_dead_addresses_of_another(post: NoticeHarness, rows: Rows) -> None:
    users = post.enrol(300)
    post.notice = replace(FAST, pace=1_000_000, chunk_size=1_000)
    post.db.execute("update notify.contacts set address = 'u' || user_id || '@wave.example' where user_id <= %s", (20,))
    wave = {f"u{user}@wave.example": GONE for user in users[:20]}
    for number in (1, 2):
        send_period(post, number, wave | {address(users[-1]): GONE})
        settle(post.db)
        pass_days(post.db, 4)
    assert rows(ENDED) == [(users[-1], "550")]


def test_a_wave_over_many_domains_ends_nobody(post: NoticeHarness, rows: Rows) -> None:
    users = post.enrol(30)
    post.db.execute("update notify.contacts set address = 'joe@d' || user_id || '.example'")
    for number in (1, 2):
        send_period(post, number, {f"joe@d{user}.example": GONE for user in users[:10]})
        settle(post.db)
        pass_days(post.db, 4)
    assert rows(ENDED) == []


def test_bounces_of_a_destination_to_which_sending_is_stopped_do_not_count(
    post: NoticeHarness, user: int, rows: Rows
) -> None:
    for number in (1, 2):
        send_period(post, number, {address(user): GONE})
        settle(post.db, unhealthy=[("email", "bank.example")])
        pass_days(post.db, 4)
    assert rows("select counts from notify.bounces") == [(False,), (False,)]
    assert rows(ENDED) == []


def test_a_bounce_is_not_judged_before_its_hour_is_over(post: NoticeHarness, user: int, rows: Rows) -> None:
    send_period(post, 1, {address(user): GONE})
    settle_bounces(db=post.db, as_of=datetime.now(UTC))
    assert rows("select counts from notify.bounces") == [(None,)]


def test_the_end_of_a_device_is_believed_at_once_but_not_in_a_wave(
    post: NoticeHarness, db: Connection, rows: Rows
) -> None:
    users = post.enrol(20)
    db.execute("update notify.contacts set channel = 'push', address = 'token ' || user_id")
    insert = (
        "insert into notify.bounces (delivery_id, run_id, user_id, contact_id, channel, destination, kind, source, "
        "status, tried_at) select user_id, 1, user_id, contact_id, 'push', '', 'hard', 'server', 'UNREGISTERED', "
        "now() - interval '3 hours' from notify.contacts where user_id = any(%s)"
    )
    db.execute(insert, (users[:2],))
    assert settle(db) == 2
    assert rows(ENDED) == [(user, "UNREGISTERED") for user in users[:2]]
    db.execute(insert, (users[10:],))
    assert settle(db) == 0


def test_many_bounces_are_settled_in_pages(post: NoticeHarness, rows: Rows) -> None:
    users = post.enrol(200)
    dead = users[:9]
    for number in (1, 2):
        send_period(post, number, dict.fromkeys(map(address, dead), GONE))
        pass_days(post.db, 4)
    assert settle(post.db, batch_size=4) == 9
    assert rows("select count(*) from notify.bounces where counts is null") == [(0,)]


def test_an_address_that_was_revived_is_used_again_and_starts_anew(post: NoticeHarness, user: int, rows: Rows) -> None:
    send_series(post, user, [(0, GONE), (4, GONE)])
    now = datetime.now(UTC)
    ended = contacts.EndedFilter(now - timedelta(hours=1), now + timedelta(hours=1), "550", "bank.example")
    assert [(count.ended_for, count.addresses) for count in contacts.count_ended(post.db, ended)] == [("550", 1)]
    others = (
        replace(ended, since=now + timedelta(minutes=1)),
        replace(ended, until=now - timedelta(minutes=1)),
        replace(ended, ended_for="551"),
        replace(ended, destination="x.example"),
        replace(ended, contact_ids=[]),
    )
    for other in others:
        assert list(contacts.revive(post.db, other, reason="no", actor="ann")) == []
    assert list(contacts.revive(post.db, ended, reason="it was a mistake", actor="ann")) == [1]
    assert rows("select event, reason, actor from notify.contact_events order by event_id") == [
        ("ended", "550", "bounces"),
        ("revived", "it was a mistake", "ann"),
    ]
    pass_days(post.db, 4)
    send_period(post, 5, {address(user): GONE})
    assert settle(post.db) == 0
    assert rows(ENDED) == []


def test_many_addresses_are_revived_in_pages(post: NoticeHarness, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "BATCH_SIZE", 4)
    users = post.enrol(10)
    ids = [contact.contact_id for user in users for contact in contacts.find(post.db, address(user), limit=2)]
    assert contacts.end(post.db, ids, reason="550", actor="ann") == len(ids) == len(users)
    now = datetime.now(UTC)
    ended = contacts.EndedFilter(now - timedelta(hours=1), now + timedelta(hours=1))
    assert list(contacts.revive(post.db, ended, reason="by hand", actor="ann")) == [4, 4, 2]
    assert rows(ENDED) == []
