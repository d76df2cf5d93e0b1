"""Servers that refuse everybody, over real sockets: nothing is lost, and nobody is told twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.notify.send import DeliveriesDeferred, RunHeld, Senders, send
from tests.integration.notify.channels.faulty_smtp import FaultySmtp, SmtpFaults
from tests.integration.notify.channels.server_thread import run_in_thread
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.test_bad_servers import email

USERS = 200


@pytest.fixture
def smtp() -> Iterator[FaultySmtp]:
    with run_in_thread(FaultySmtp(SmtpFaults(refused=1))) as server:
        yield server


@pytest.fixture
def harness(db: Connection, limiter: Limiter, short_backoff: None) -> NoticeHarness:
    return NoticeHarness(db, limiter, notice=replace(FAST, chunk_size=1_000, pace=100))


def send_with_probes(harness: NoticeHarness, run_id: int, senders: Senders, *, attempts: int) -> bool:
    """Send a chunk with each probe due at once; return whether it has ended."""
    for _ in range(attempts):
        try:
            send(harness.notice, run_id, 0, db=harness.db, limiter=harness.limiter, senders=senders)
        except (RunHeld, DeliveriesDeferred):
            harness.db.execute("update notify.breakers set probe_at = now() where state <> 'closed'")
        else:
            return True
    return False


def test_mails_arrive_once_after_their_server_refused_everybody(harness: NoticeHarness, smtp: FaultySmtp) -> None:
    users = harness.enrol(USERS)
    run_id = harness.plan().run_id
    assert not send_with_probes(harness, run_id, email(smtp.port), attempts=3)
    assert (harness.run(run_id).state, harness.run(run_id).reason) == ("held", "email: 550 5.1.1 no such user")
    assert not smtp.accepted
    smtp.faults = SmtpFaults()
    assert send_with_probes(harness, run_id, email(smtp.port), attempts=10)
    assert smtp.accepted == dict.fromkeys(map(address, users), 1)
    assert check_counters(harness, run_id) == {"sent": USERS}
    assert harness.run(run_id).state == "done"
    ended = harness.db.execute("select count(*) from notify.contacts where ended_at is not null").fetchone()
    assert ended == (0,)


def test_a_server_that_refuses_everybody_for_ever_fails_the_run(harness: NoticeHarness, smtp: FaultySmtp) -> None:
    harness.enrol(USERS)
    run_id = harness.plan().run_id
    assert not send_with_probes(harness, run_id, email(smtp.port), attempts=2)
    harness.notice = replace(harness.notice, patience=timedelta(seconds=1))
    harness.db.execute("update notify.runs set planned_at = planned_at - interval '1 hour'")
    harness.db.execute("update notify.breakers set opened_at = opened_at - interval '1 hour'")
    harness.db.execute("update notify.deferrals set first_tried_at = first_tried_at - interval '1 hour'")
    assert send_with_probes(harness, run_id, email(smtp.port), attempts=10)
    assert harness.run(run_id).state == "failed"
    assert check_counters(harness, run_id) == {"failed": USERS}
