"""Servers that take messages and answer nothing leave few of them in doubt."""

from __future__ import annotations

from dataclasses import replace

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.notify.channels.channel import Scope, SendOutcome, SendResult
from tests.integration.notify.notice_harness import FAST, NoticeHarness
from tests.integration.notify.picky_mailbox import PickyMailbox
from tests.integration.notify.test_breakers import send_until_held, send_with_probes

SILENT = SendResult(0, SendOutcome.UNKNOWN, "Timeout", "no response", scope=Scope.SERVER)


def test_a_server_that_answers_nothing_is_held_before_many_are_in_doubt(
    db: Connection, limiter: Limiter, short_backoff: None
) -> None:
    mailbox = PickyMailbox()
    harness = NoticeHarness(db, limiter, mailbox, replace(FAST, chunk_size=1_000, pace=40))
    harness.enrol(120)
    mailbox.refused, mailbox.answer = {"*"}, SILENT
    planned = harness.plan()
    send_until_held(harness, planned.run_id)
    assert harness.run(planned.run_id).reason == "email: Timeout no response"
    in_doubt = harness.totals(planned.run_id)["unknown"]
    assert in_doubt <= 40
    mailbox.refused = set()
    send_with_probes(harness, planned.run_id)
    assert harness.states() == {"sent": 120 - in_doubt, "unknown": in_doubt}
