"""Rows of the ledger belong to one run, one chunk and one attempt, and contacts to one address."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from etl.db.connection import Connection
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import Message
from etl.notify.store import chunks, deliveries, recipients, runs
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import ClaimedPage, DeliveryUpdate
from etl.notify.store.runs import RunState
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import failure

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture(autouse=True)
def _resend(post: NoticeHarness) -> None:
    post.notice = replace(FAST, unknown=UnknownPolicy.RESEND)


def claim(post: NoticeHarness, chunk: NoticeChunk) -> ClaimedPage:
    """Claim the messages of all recipients of a chunk."""
    run = post.run(chunk.run_id)
    page = recipients.read_page(post.db, post.notice, run, after=chunk.start - 1, stop=chunk.stop, limit=100)
    return deliveries.claim(post.db, post.notice, run, chunk, page)


def test_a_run_leaves_messages_in_doubt_of_another_run_alone(post: NoticeHarness, rows: Rows) -> None:
    (user,) = post.enrol(1)
    post.send_all()
    post.db.execute("update notify.deliveries set state = 'unknown', doubts = 1, error_class = 'killed'")
    post.db.execute("update notify.runs set period = 'forgotten'")
    planned = post.send_all()
    assert post.mailbox.addresses == {address(user): 1}
    assert rows("select run_id, state::text, attempt from notify.deliveries") == [(planned.run_id - 1, "unknown", 1)]
    assert post.totals(planned.run_id)["repeated"] == 1


def test_a_chunk_leaves_messages_in_doubt_of_another_chunk_alone(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(12)
    planned = post.plan()
    first, second = (chunks.start_attempt(post.db, planned.run_id, ordinal) for ordinal in planned.ordinals)
    assert len(claim(post, first).claimed) == 6
    post.db.execute("update notify.deliveries set state = 'unknown', doubts = 1, error_class = 'killed'")
    page = claim(post, replace(second, start=first.start, stop=first.stop))
    assert page.claimed == []
    assert page.repeated == 6
    assert rows("select distinct ordinal, state::text from notify.deliveries") == [(0, "unknown")]


@pytest.mark.parametrize("outcome", ["sent", "failed", "released"])
def test_a_superseded_sender_ends_none_of_the_deliveries_that_its_successor_claimed(
    post: NoticeHarness, rows: Rows, outcome: str
) -> None:
    post.enrol(2)
    planned = post.plan()
    superseded = chunks.start_attempt(post.db, planned.run_id, 0)
    page = claim(post, superseded)
    ids = [delivery.delivery_id for delivery in page.claimed]
    successor = chunks.start_attempt(post.db, planned.run_id, 0)
    assert [delivery.delivery_id for delivery in claim(post, successor).claimed] == ids
    if outcome == "released":
        deliveries.release(post.db, superseded, ids)
    else:
        updates = [DeliveryUpdate(delivery_id, outcome) for delivery_id in ids]
        deliveries.record_updates(post.db, superseded, updates, position=superseded.start)
    assert rows("select state::text, attempt, ended_at from notify.deliveries") == [("claimed", 2, None)] * 2
    updates = [DeliveryUpdate(delivery_id, "sent") for delivery_id in ids]
    deliveries.record_updates(post.db, successor, updates, position=successor.stop - 1)
    chunks.finish(post.db, successor)
    assert check_counters(post, planned.run_id) == {"sent": 2}


def test_a_bounce_counts_against_no_newer_address_that_was_added_meanwhile(post: NoticeHarness, rows: Rows) -> None:
    (user,) = post.enrol(1)
    post.mailbox.answers = {address(user): [replace(failure("550"), is_address_invalid=True)]}

    def add_address(_: object) -> None:
        post.db.execute(
            "insert into notify.contacts (user_id, channel, address) values (%s, 'email', 'new@x')", (user,)
        )

    post.mailbox.before = add_address
    post.send_all()
    assert rows(
        "select c.address, b.status from notify.bounces as b inner join notify.contacts as c using (contact_id)"
    ) == [
        (address(user), "550"),
    ]


def test_a_run_ends_if_its_two_last_chunks_finish_at_once(
    post: NoticeHarness, connect: Callable[[], Connection]
) -> None:
    post.enrol(12)
    planned = post.plan()
    first, second = (chunks.start_attempt(post.db, planned.run_id, ordinal) for ordinal in planned.ordinals)
    one, other = connect(), connect()
    with ThreadPoolExecutor(1) as thread:
        with one.transaction():
            chunks.finish(one, first)
            finishing = thread.submit(chunks.finish, other, second)
            deadline = time.monotonic() + 10
            while not _is_waiting(post.db, other.info.backend_pid) and not finishing.done():
                assert time.monotonic() < deadline
        finishing.result(timeout=10)
    assert post.run(planned.run_id).state == "done"


def test_a_run_that_is_paused_during_its_last_message_is_done(post: NoticeHarness, rows: Rows) -> None:
    post.enrol(3)
    planned = post.plan()

    def pause(_: list[Message]) -> None:
        assert runs.set_pace_or_state(post.db, planned.run_id, state=RunState.PAUSED)

    post.mailbox.after = pause  # type: ignore[assignment]
    post.send(planned.run_id)
    assert post.states() == {"sent": 3}
    assert rows("select state, ended_at is not null from notify.runs") == [("done", True)]


def _is_waiting(db: Connection, pid: int) -> bool:
    return bool(db.execute("select 1 from pg_locks where not granted and pid = %s", (pid,)).fetchall())
