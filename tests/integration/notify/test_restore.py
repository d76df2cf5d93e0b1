"""After a restore from a backup, nobody is told twice, and nothing is sent before a person says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.db.connection import connect as connect_to
from etl.notify.channels.channel import Message, SendOutcome
from etl.notify.plan import PlannedRun
from etl.notify.restore import mail_log, mark_sent
from etl.notify.restore.mark_sent import RunNotHeld
from etl.notify.run_request import RunRequest, plan_requested_run
from etl.notify.store import restores, runs
from etl.notify.store.restores import ID_GAP, LedgerUntrusted
from etl.notify.store.runs import RunState
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, NOW, Mailbox, NoticeHarness
from tests.integration.warehouse_copy import copy_warehouse

USERS, SENT = 1_000, 200
NOTICES = (MONTHLY_REPORT,)


@dataclass(frozen=True)
class Disaster:
    """A run of 1,000 messages whose backup was taken after 200; then its database was lost."""

    run: PlannedRun
    before: Mailbox
    after: Mailbox
    restored: NoticeHarness

    @property
    def log(self) -> list[str]:
        return [line for message in self.before.arrived + self.after.arrived for line in log_of(message)]


def log_of(message: Message) -> list[str]:
    """Return what Postfix logs of a mail."""
    head = f"Nov 23 04:11:02 mx1 postfix/{{}}[412]: 4Zq{message.delivery_id:08X}: "
    return [
        head.format("smtpd") + "client=worker[10.0.0.7]",
        head.format("cleanup") + f"message-id=<delivery.{message.delivery_id}@bank.example>",
        head.format("qmgr") + "from=<notices@bank.example>, size=2310, nrcpt=1 (queue active)",
        head.format("smtp") + f"to=<{message.address.upper()}>, relay=mx.example[192.0.2.1]:25, status=sent (SENT ok)",
        head.format("qmgr") + "removed",
    ]


@contextmanager
def harness(database: Endpoint, limiter: Limiter) -> Iterator[NoticeHarness]:
    with connect_to(database) as db:
        yield NoticeHarness(db, limiter, Mailbox(), replace(FAST, chunk_size=SENT))


@pytest.fixture
def disaster(server: Endpoint, database: Endpoint, limiter: Limiter) -> Iterator[Disaster]:
    with harness(database, limiter) as post:
        post.enrol(USERS)
        run = post.plan()
        post.send(run.run_id, run.ordinals[:1])
        assert len(post.mailbox.arrived) == SENT
        before = post.mailbox
    with copy_warehouse(server, database.schema, f"{database.schema}_backup") as backup:
        with harness(database, limiter) as post:
            post.send(run.run_id, run.ordinals)
            assert post.states() == {"sent": USERS}
            after = post.mailbox
        with harness(backup, limiter) as restored:
            assert restored.states()["sent"] == SENT
            yield Disaster(run, before, after, restored)


def tell_all(disaster: Disaster) -> Counter[str]:
    """Send what the restored database has left, and return how many mails each address got in all."""
    post = disaster.restored
    post.send(disaster.run.run_id, disaster.run.ordinals)
    return disaster.before.addresses + disaster.after.addresses + post.mailbox.addresses


def test_nothing_is_sent_or_planned_after_a_restore_until_a_person_says_so(disaster: Disaster) -> None:
    post, run_id = disaster.restored, disaster.run.run_id
    assert restores.hold(post.db) == [run_id]
    assert post.run(run_id).state == "held"
    assert "restored from a backup" in post.run(run_id).reason
    with pytest.raises(LedgerUntrusted):
        tell_all(disaster)
    runs.set_pace_or_state(post.db, run_id, state=RunState.RUNNING)
    with pytest.raises(LedgerUntrusted, match="nothing is planned or sent until `sluice notify trust --since TIME`"):
        tell_all(disaster)
    with pytest.raises(LedgerUntrusted):
        post.plan("2026-11")
    assert post.mailbox.arrived == []


def test_with_the_log_of_the_mail_server_nobody_is_told_twice(disaster: Disaster) -> None:
    post, run_id = disaster.restored, disaster.run.run_id
    restores.hold(post.db)
    marked = mark_sent.mark_logged(post.db, mail_log.read(disaster.log), notices=NOTICES)
    assert marked.lost == {run_id: USERS - SENT}
    assert marked.are_certain
    repeated = mark_sent.mark_logged(post.db, mail_log.read(disaster.log), notices=NOTICES)
    assert repeated.lost == {run_id: 0}
    assert restores.confirm(post.db, datetime.now(UTC))
    runs.set_pace_or_state(post.db, run_id, state=RunState.RUNNING)
    assert max(tell_all(disaster).values()) == 1
    assert post.states() == {"sent": USERS}
    assert post.totals(run_id)["sent"] == USERS
    assert post.run(run_id).state == "done"


def test_who_is_missing_in_the_log_is_told(disaster: Disaster) -> None:
    post, run_id = disaster.restored, disaster.run.run_id
    restores.hold(post.db)
    told = [line for message in disaster.after.arrived[:300] for line in log_of(message)]
    mark_sent.mark_logged(post.db, mail_log.read(told), notices=NOTICES)
    restores.confirm(post.db, datetime.now(UTC))
    runs.set_pace_or_state(post.db, run_id, state=RunState.RUNNING)
    tell_all(disaster)
    assert len(post.mailbox.arrived) == USERS - SENT - 300
    assert post.states() == {"sent": USERS}


def test_addresses_that_an_operator_declares_are_not_told_again(disaster: Disaster) -> None:
    post, run_id = disaster.restored, disaster.run.run_id
    restores.hold(post.db)
    marked = mark_sent.mark_addresses(post.db, set(disaster.after.addresses), notices=NOTICES, run_ids=[run_id])
    assert marked.lost == {run_id: USERS - SENT}
    restores.confirm(post.db, datetime.now(UTC))
    runs.set_pace_or_state(post.db, run_id, state=RunState.RUNNING)
    assert max(tell_all(disaster).values()) == 1


def test_ids_of_lost_deliveries_are_not_given_again(disaster: Disaster) -> None:
    post = disaster.restored
    lost = {message.delivery_id for message in disaster.after.arrived}
    restores.hold(post.db)
    restores.confirm(post.db, datetime.now(UTC))
    runs.set_pace_or_state(post.db, disaster.run.run_id, state=RunState.RUNNING)
    tell_all(disaster)
    given = {message.delivery_id for message in post.mailbox.arrived}
    assert not given & lost
    assert min(given) > ID_GAP
    assert restores.is_lost(post.db, lost | given) == lost


def test_mails_that_several_runs_may_have_sent_leave_a_doubt(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = [post.plan(period).run_id for period in ("2026-09", "2026-10")]
    restores.hold(post.db)
    marked = mark_sent.mark_addresses(post.db, {"user1@bank.example"}, notices=NOTICES)
    assert not marked.are_certain
    assert marked.lost == dict.fromkeys(planned, 1)
    assert post.states() == {"unknown": 2}
    assert [post.totals(run_id)["unknown"] for run_id in planned] == [1, 1]


def test_a_delivery_of_the_backup_that_was_in_doubt_is_sent_if_the_log_says_so(post: NoticeHarness) -> None:
    post.enrol(3)
    post.mailbox.answers = {"user2@bank.example": [SendOutcome.UNKNOWN]}
    post.notice = replace(FAST, chunk_size=100)
    planned = post.send_all()
    assert post.states() == {"sent": 2, "unknown": 1}
    (delivery_id,) = (
        post.db.execute("select delivery_id from notify.deliveries where state = 'unknown'").fetchone() or ()
    )
    restores.hold(post.db)
    lines = log_of(replace(post.mailbox.arrived[0], delivery_id=delivery_id))
    assert mark_sent.mark_logged(post.db, mail_log.read(lines), notices=NOTICES).known == 1
    assert post.states() == {"sent": 3}
    assert post.totals(planned.run_id)["sent"] == 3
    assert "unknown" not in post.totals(planned.run_id)


def test_a_run_that_sends_cannot_be_told_what_was_sent(post: NoticeHarness) -> None:
    post.enrol(3)
    planned = post.plan()
    with pytest.raises(RunNotHeld, match="is running"):
        mark_sent.mark_addresses(post.db, {"user1@bank.example"}, notices=NOTICES, run_ids=[planned.run_id])


@pytest.mark.parametrize(
    ("trusted_since", "conf", "runs_planned"),
    [
        (NOW + timedelta(days=4), {}, 0),
        (NOW - timedelta(days=1), {}, 1),
        (NOW + timedelta(days=4), {"period": "2026-10"}, 1),
    ],
    ids=["due before", "due after", "a person asks for it"],
)
def test_a_scheduled_run_that_was_due_before_the_ledger_is_trusted_is_not_sent(
    post: NoticeHarness, trusted_since: datetime, conf: dict[str, str], runs_planned: int
) -> None:
    post.enrol(3)
    restores.hold(post.db)
    request = RunRequest("scheduled", "scheduled", NOW, (NOW - timedelta(days=31), NOW), conf)
    notice = replace(post.notice, expiry=None)
    with pytest.raises(LedgerUntrusted):
        plan_requested_run(notice, request, db=post.db)
    restores.confirm(post.db, trusted_since)
    plan_requested_run(notice, request, db=post.db)
    assert post.db.execute("select count(*) from notify.runs").fetchone() == (runs_planned,)


@pytest.mark.parametrize(
    "line",
    [
        "Nov 23 04:11:02 mx1 postfix/cleanup[41]: 4Zq000001: message-id=<20261123@elsewhere.example>",
        "Nov 23 04:11:02 mx1 dovecot[41]: 4Zq000001: message-id=<delivery.7@bank.example>",
        "",
    ],
)
def test_other_lines_of_the_log_are_skipped(line: str) -> None:
    recipient = "Nov 23 04:11:02 mx1 postfix/smtp[41]: 4Zq000001: to=<joe@example.org>, status=sent"
    assert list(mail_log.read([line, recipient])) == []


def test_a_database_that_was_never_restored_is_trusted(db: Connection) -> None:
    restores.require_trusted(db)
    assert not restores.confirm(db, datetime.now(UTC))
    assert restores.find_trusted_since(db) is None


def test_a_second_restore_holds_everything_again(db: Connection, connect: Callable[[], Connection]) -> None:
    restores.hold(db)
    restores.confirm(db, datetime.now(UTC))
    restores.require_trusted(connect())
    restores.hold(db)
    with pytest.raises(LedgerUntrusted):
        restores.require_trusted(db)
