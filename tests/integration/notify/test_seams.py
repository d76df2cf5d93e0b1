"""Where parts of notices meet: restores and approvals, quiet hours and probes, deploys and refused channels."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import time

import pytest

from etl.declare.notice import SendWindow
from etl.errors import ChannelRefused
from etl.notify.audience.totals import TotalsDiffer
from etl.notify.channels.channel import SendOutcome
from etl.notify.pacing import SendingPaused, SendingStopped
from etl.notify.report import report_run
from etl.notify.send import DeliveriesDeferred, RunHeld
from etl.notify.store import approvals, breakers, restores, runs
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import FAST, NOW, Mailbox, NoticeHarness, stop_logins
from tests.integration.notify.test_timing import set_zone, zone_where_it_is


def test_a_run_that_was_held_by_refusals_waits_for_a_person_after_a_restore(post: NoticeHarness) -> None:
    post.enrol(1)
    run = post.run(post.plan().run_id)
    breakers.hold_runs(post.db, run.notice_id, "email: 550")
    restores.hold(post.db)
    restores.confirm(post.db, NOW)
    breakers.resume_runs(post.db, run.notice_id)
    assert post.run(run.run_id).state == "held"
    with pytest.raises(SendingPaused):
        post.send(run.run_id)


@pytest.mark.parametrize("change", ["restored", "paused", "resumed"])
def test_a_run_that_was_not_begun_ends_when_it_is_rejected(post: NoticeHarness, change: str) -> None:
    post.notice = replace(FAST, approval_above=1)
    post.enrol(2)
    run_id = post.plan().run_id
    if change == "restored":
        restores.hold(post.db)
    else:
        state = RunState.PAUSED if change == "paused" else RunState.RUNNING
        assert runs.set_pace_or_state(post.db, run_id, state=state)
    assert not approvals.approve(post.db, run_id)
    assert approvals.reject(post.db, run_id)
    assert post.run(run_id).state == "cancelled"


def test_a_run_that_a_person_resumed_and_that_was_begun_is_not_rejected(post: NoticeHarness) -> None:
    post.notice = replace(FAST, approval_above=1, chunk_size=1)
    post.enrol(2)
    run_id = post.plan().run_id
    runs.set_pace_or_state(post.db, run_id, state=RunState.RUNNING)
    post.send(run_id, [0])
    assert not approvals.reject(post.db, run_id)
    assert post.run(run_id).state == "running"


def test_quiet_hours_spend_no_probe(post: NoticeHarness) -> None:
    post.notice = replace(FAST, window=SendWindow(earliest=time(8), latest=time(20)), chunk_size=100)
    users = post.enrol(9)
    for user in users:
        set_zone(post.db, user, zone_where_it_is(0 if user < users[-1] else 12))
    run = post.run(post.plan().run_id)
    post.db.execute(
        "insert into notify.breakers (notice_id, channel, destination, state, opened_at, probe_at, error_class) "
        "values (%s, 'email', '', 'open', now(), now(), '550')",
        [run.notice_id],
    )
    with pytest.raises((DeliveriesDeferred, RunHeld)):
        post.send(run.run_id)
    assert len(post.mailbox.arrived) == 1


class _StoppedMailbox(Mailbox):
    """A channel that is refused while its worker is asked to end."""

    async def __aenter__(self) -> Mailbox:
        os.kill(os.getpid(), signal.SIGTERM)
        raise ChannelRefused("email", "mail.example", "535")


def test_a_sender_that_is_asked_to_end_while_its_channel_is_refused_begins_no_other_chunk(post: NoticeHarness) -> None:
    post.enrol(1)
    run_id = post.plan().run_id
    post.mailbox = _StoppedMailbox()
    with pytest.raises(SendingStopped):
        post.send(run_id)


def test_totals_add_up_when_somebody_leaves_after_their_message_was_sent_and_before_their_page_ended(
    post: NoticeHarness,
) -> None:
    users = post.enrol(9)
    run_id = post.plan().run_id

    def die(_: object) -> None:
        raise ZeroDivisionError

    post.mailbox.after = die
    with pytest.raises(ZeroDivisionError):
        post.send(run_id)
    stop_logins(post.db, users[0])
    post.send(run_id)
    totals = report_run(post.notice, run_id, db=post.db)
    assert (totals["unknown"], totals["walked"]) == (9, 8)


def test_an_outcome_that_was_counted_twice_is_refused(post: NoticeHarness) -> None:
    post.enrol(3)
    run_id = post.send_all().run_id
    post.db.execute("update notify.chunks set sent = sent + 1")
    with pytest.raises(TotalsDiffer, match="3 messages, and 4 have an outcome"):
        report_run(post.notice, run_id, db=post.db)


def test_what_the_log_says_of_a_dropped_delivery_is_no_doubt_any_more(post: NoticeHarness) -> None:
    post.notice = replace(FAST, chunk_size=100)
    users = post.enrol(2)
    for user in users:
        post.mailbox.answers[f"user{user}@bank.example"] = [SendOutcome.UNKNOWN]
    run_id = post.send_all().run_id
    post.db.execute("update notify.deliveries set error_class = 'dropped' where user_id = %s", [users[0]])
    post.db.execute("update notify.chunks set dropped = 1")
    ids = [
        row[0] for row in post.db.execute("select delivery_id from notify.deliveries where user_id = %s", [users[0]])
    ]
    restores.mark_known(post.db, ids)
    totals = runs.read_totals(post.db, run_id)
    assert (totals["sent"], totals["unknown"], totals["dropped"]) == (1, 1, 0)
