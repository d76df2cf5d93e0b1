"""Circuit breakers while runs are sent: what a wave of refusals fails, holds, probes and resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.notify import pacing
from etl.notify.channels.channel import Scope, SendOutcome, SendResult
from etl.notify.failed_deliveries import retry_failed
from etl.notify.health.gate import BreakerGate
from etl.notify.report import NoticeRunFailed, report_run, require_delivered
from etl.notify.send import DeliveriesDeferred, RunHeld
from etl.notify.store import chunks, runs
from etl.notify.store.deliveries import ClaimedDelivery
from etl.notify.store.runs import RunState
from tests.integration.notify.notice_harness import FAST, NoticeHarness
from tests.integration.notify.picky_mailbox import REFUSED, PickyMailbox

Rows = Callable[..., list[tuple[object, ...]]]
FORBIDDEN = SendResult(0, SendOutcome.DEFERRED, "403", "403 sender is disabled", scope=Scope.SERVER)


@pytest.fixture
def mailbox() -> PickyMailbox:
    return PickyMailbox()


@pytest.fixture
def harness(db: Connection, limiter: Limiter, mailbox: PickyMailbox, short_backoff: None) -> NoticeHarness:
    return NoticeHarness(db, limiter, mailbox, replace(FAST, chunk_size=1_000))


def spread_over_domains(db: Connection, domains: int) -> None:
    """Give the users addresses at `0.example` and so on, by turns."""
    db.execute(
        "update notify.contacts set address = 'user' || user_id || '@' || user_id %% %s || '.example'",
        [domains],
    )


def make_probes_due(db: Connection) -> None:
    db.execute("update notify.breakers set probe_at = now() where state <> 'closed'")


def send_until_held(harness: NoticeHarness, run_id: int) -> None:
    with pytest.raises((RunHeld, DeliveriesDeferred)):
        harness.send(run_id)


def send_with_probes(harness: NoticeHarness, run_id: int, *, attempts: int = 20) -> None:
    """Send a chunk until it has ended, with each probe due at once."""
    for _ in range(attempts):
        make_probes_due(harness.db)
        try:
            harness.send(run_id)
        except (RunHeld, DeliveriesDeferred):
            continue
        return
    raise AssertionError("the run has not ended")


def ended_contacts(db: Connection) -> int:
    (count,) = db.execute("select count(*) from notify.contacts where ended_at is not null").fetchone() or (0,)
    return int(count)


def test_a_total_refusal_holds_the_run_and_fails_nothing(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.enrol(300)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    run = harness.run(planned.run_id)
    assert (run.state, run.is_refused, run.reason) == ("held", True, "email: 550 5.1.1 no such user")
    assert harness.states().keys() == {"deferred"}
    assert ended_contacts(harness.db) == 0


def test_a_held_run_sends_a_few_probes_and_nothing_else(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.enrol(300)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    for _ in range(3):
        before = mailbox.tried
        send_until_held(harness, planned.run_id)
        assert mailbox.tried == before
        make_probes_due(harness.db)
        send_until_held(harness, planned.run_id)
        assert 1 <= mailbox.tried - before <= 3


def test_after_a_wave_everybody_is_told_once_and_no_address_is_lost(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    users = harness.enrol(300)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    assert set(mailbox.addresses.values()) == {1}
    assert len(mailbox.addresses) == len(users)
    assert harness.run(planned.run_id).state == "done"
    assert harness.run(planned.run_id).reason == ""
    assert ended_contacts(harness.db) == 0


def test_one_ill_domain_of_ten_neither_stops_the_others_nor_loses_addresses(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    harness.enrol(400)
    spread_over_domains(harness.db, 10)
    mailbox.refused = {"3.example"}
    harness.notice = replace(harness.notice, pace=40)
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    assert harness.states() == {"sent": 360, "deferred": 40}
    assert harness.run(planned.run_id).state == "running"
    assert mailbox.tried < 360 + 40
    assert ended_contacts(harness.db) == 0
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    assert harness.states() == {"sent": 400}
    assert harness.totals(planned.run_id) == {"chunks": 1, "chunks_finished": 1, "recipients": 400, "sent": 400}
    assert set(mailbox.addresses.values()) == {1}


def test_a_domain_that_is_held_gets_three_probes(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.enrol(100)
    spread_over_domains(harness.db, 2)
    mailbox.refused = {"1.example"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    before = mailbox.tried
    make_probes_due(harness.db)
    send_until_held(harness, planned.run_id)
    assert mailbox.tried == before + 3


def test_single_bad_addresses_fail_at_once(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    users = harness.enrol(200)
    for user in users[::20]:
        mailbox.answers[f"user{user}@bank.example"] = [REFUSED]
    planned = harness.send_all()
    assert harness.states() == {"sent": 190, "failed": 10}
    assert harness.run(planned.run_id).state == "done"


def test_a_healthy_run_writes_no_breaker(harness: NoticeHarness, rows: Rows) -> None:
    harness.enrol(50)
    harness.send_all()
    assert rows("select * from notify.breakers") == []


def test_a_refusal_for_longer_than_the_patience_fails_the_run(
    harness: NoticeHarness, mailbox: PickyMailbox, rows: Rows
) -> None:
    harness.notice = replace(harness.notice, patience=timedelta(hours=1), pace=100, chunk_size=10_000)
    harness.enrol(3_000)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    harness.db.execute("update notify.runs set planned_at = planned_at - interval '2 hours'")
    harness.db.execute("update notify.breakers set opened_at = opened_at - interval '2 hours'")
    harness.db.execute("update notify.deferrals set first_tried_at = first_tried_at - interval '2 hours'")
    send_with_probes(harness, planned.run_id)
    run = harness.run(planned.run_id)
    assert (run.state, run.reason) == ("failed", "3,000 of 3,000 messages were not delivered (550: 3,000)")
    assert harness.states() == {"failed": 3_000}
    assert mailbox.tried < 200
    with pytest.raises(NoticeRunFailed, match=r"bank\.example \(email\): 3,000 × 550 5\.1\.1 no such user"):
        require_delivered(planned.run_id, db=harness.db)
    report_run(harness.notice, planned.run_id, db=harness.db)
    ((refusal,),) = rows("select refusals from notify.runs")
    assert refusal == [
        {
            "channel": "email",
            "destination": "bank.example",
            "error_class": "550",
            "error": "550 5.1.1 no such user",
            "messages": 3_000,
        }
    ]


def test_a_failed_run_succeeds_after_a_retry(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    users = harness.enrol(100)
    for user in users[::4]:
        mailbox.answers[f"user{user}@bank.example"] = [REFUSED]
    run_id = harness.send_all().run_id
    with pytest.raises(NoticeRunFailed):
        require_delivered(run_id, db=harness.db)
    harness.db.execute("update notify.contacts set ended_at = null")
    retry_failed(run_id, error_classes=None, as_of=datetime.now(UTC), db=harness.db)
    harness.send(run_id)
    require_delivered(run_id, db=harness.db)
    assert harness.run(run_id).state == "done"
    assert harness.states() == {"sent": 100}


def test_credentials_that_are_refused_hold_the_run_until_they_are_mended(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    harness.enrol(300)
    spread_over_domains(harness.db, 300)
    mailbox.refused, mailbox.answer = {"*"}, FORBIDDEN
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    assert harness.run(planned.run_id).reason == "email: 403 sender is disabled"
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    assert harness.states() == {"sent": 300}
    assert set(mailbox.addresses.values()) == {1}


def test_messages_that_expire_while_everything_is_refused_fail_the_run(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    harness.notice = replace(harness.notice, expiry=timedelta(hours=1), pace=100)
    harness.enrol(300)
    mailbox.refused, mailbox.answer = {"*"}, FORBIDDEN
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    harness.db.execute("update notify.runs set expires_at = now()")
    send_with_probes(harness, planned.run_id)
    run = harness.run(planned.run_id)
    assert harness.states().keys() == {"expired"}
    assert run.state == "failed"
    assert run.reason.startswith("300 of 300 messages were not delivered (")


def test_what_expired_before_anything_was_tried_fails_no_run(harness: NoticeHarness) -> None:
    harness.enrol(50)
    planned = harness.plan()
    harness.db.execute("update notify.runs set expires_at = now()")
    harness.send(planned.run_id)
    assert harness.states() == {"expired": 50}
    assert harness.run(planned.run_id).state == "done"


def test_a_few_failures_fail_no_run(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.enrol(9)
    mailbox.refused = {"*"}
    planned = harness.send_all()
    assert harness.states() == {"failed": 9}
    assert harness.run(planned.run_id).state == "done"


def test_a_share_of_failures_above_the_declared_one_fails_the_run(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    users = harness.enrol(100)
    for user in users[::5]:
        mailbox.answers[f"user{user}@bank.example"] = [REFUSED]
    harness.notice = replace(harness.notice, max_failed_share=0.19)
    run_id = harness.send_all().run_id
    assert harness.run(run_id).state == "failed"
    assert harness.run(run_id).reason == "20 of 100 messages were not delivered (550: 20)"


def test_senders_learn_from_each_other(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.notice = replace(harness.notice, chunk_size=100)
    harness.enrol(300)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    tried = mailbox.tried
    for ordinal in (1, 2):
        with pytest.raises(RunHeld):
            harness.send(planned.run_id, [ordinal])
    assert mailbox.tried == tried


def test_only_one_of_two_senders_that_see_a_probe_due_sends_it(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.notice = replace(harness.notice, chunk_size=100)
    harness.enrol(200)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    make_probes_due(harness.db)
    gates = [BreakerGate(harness.notice, chunks.find(harness.db, planned.run_id, n), harness.db) for n in (0, 1)]
    delivery = ClaimedDelivery(1, harness.read_one_by_one(planned)[0], "email", "user1@bank.example")
    for gate in gates:
        gate.begin_page(harness.run(planned.run_id))
    holds = [gate.hold(harness.notice.channels[0], delivery) for gate in gates]
    assert [hold is None for hold in holds] == [True, False]


def test_resuming_by_hand_ends_a_hold_and_tries_everything_at_once(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    harness.enrol(300)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    mailbox.refused = set()
    assert runs.set_pace_or_state(harness.db, planned.run_id, state=RunState.RUNNING)
    harness.send(planned.run_id)
    assert harness.states() == {"sent": 300}


def test_what_failed_in_pages_before_a_breaker_opened_is_tried_again(
    harness: NoticeHarness, mailbox: PickyMailbox
) -> None:
    harness.enrol(40)
    harness.notice = replace(harness.notice, pace=4)
    mailbox.refused = {"*"}
    planned = harness.plan()
    harness.db.execute("update notify.chunks set page_limit = 4")
    harness.notice = replace(harness.notice, pace=1_000)
    harness.db.execute("update notify.runs set pace = 1000")
    send_until_held(harness, planned.run_id)
    assert harness.states().keys() == {"deferred"}
    assert harness.totals(planned.run_id)["deferred"] == sum(harness.states().values())
    assert ended_contacts(harness.db) == 0
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    assert harness.states() == {"sent": 40}
    assert set(mailbox.addresses.values()) == {1}


def test_single_bad_addresses_of_many_domains_need_no_rows(
    harness: NoticeHarness, mailbox: PickyMailbox, rows: Rows
) -> None:
    harness.enrol(100)
    spread_over_domains(harness.db, 50)
    mailbox.refused = {f"{number}.example" for number in range(0, 50, 10)}
    harness.send_all()
    assert harness.states() == {"sent": 90, "failed": 10}
    assert rows("select channel, destination from notify.breakers") == [("email", "")]


def test_breakers_of_healthy_destinations_are_forgotten(
    harness: NoticeHarness, mailbox: PickyMailbox, rows: Rows
) -> None:
    users = harness.enrol(20)
    mailbox.answers[f"user{users[0]}@bank.example"] = [REFUSED]
    harness.send_all()
    assert len(rows("select * from notify.breakers")) == 1
    harness.enrol(100)
    harness.send_all(period="2026-09")
    harness.send_all(period="2026-08")
    assert rows("select * from notify.breakers") == []


def test_a_run_that_is_held_for_another_reason_sends_no_probes(
    harness: NoticeHarness, mailbox: PickyMailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.enrol(20)
    planned = harness.plan()
    harness.db.execute("update notify.runs set state = 'held', reason = 'restored from a backup'")
    monkeypatch.setattr(pacing, "MAX_PAUSE", timedelta())
    with pytest.raises(pacing.SendingPaused, match="is held"):
        harness.send(planned.run_id)
    assert mailbox.tried == 0


def test_held_messages_are_left_alone_until_a_probe_is_due(
    harness: NoticeHarness, mailbox: PickyMailbox, rows: Rows
) -> None:
    harness.enrol(60)
    spread_over_domains(harness.db, 2)
    mailbox.refused = {"1.example"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    claimed = "select delivery_id, claimed_at, attempt from notify.deliveries where state = 'deferred' order by 1"
    before = rows(claimed)
    harness.db.execute("update notify.deferrals set not_before = now()")
    send_until_held(harness, planned.run_id)
    assert rows(claimed) == before


def test_a_run_resumes_by_itself_when_a_probe_is_accepted(harness: NoticeHarness, mailbox: PickyMailbox) -> None:
    harness.notice = replace(harness.notice, chunk_size=100)
    harness.enrol(200)
    mailbox.refused = {"*"}
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    assert harness.run(planned.run_id).state == "held"
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    run = harness.run(planned.run_id)
    assert (run.state, run.is_refused, run.reason) == ("running", False, "")
