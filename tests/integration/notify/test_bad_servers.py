"""Servers that refuse for a while, over real sockets: in the end, everybody has got one message."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dev.servers.ports import LOOPBACK, candidates, is_free
from etl.catalog.channels import PUSH
from etl.clients.mail_server import MailServer
from etl.declare.notice import Notice
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.channels.fcm import FcmConfig, FcmSender
from etl.notify.send import DeliveriesDeferred, Senders, send
from etl.notify.store import deferrals
from etl.notify.templates import Templates
from tests.integration.notify.bank_data import add_contact
from tests.integration.notify.channels.faulty_smtp import FaultySmtp, SmtpFaults
from tests.integration.notify.channels.firebase import Firebase, refusal
from tests.integration.notify.channels.push_faults import PushFaults
from tests.integration.notify.channels.server_thread import run_in_thread
from tests.integration.notify.ledger_invariants import check_counters
from tests.integration.notify.notice_harness import FAST, NoticeHarness, address
from tests.integration.notify.retried_runs import hurry

pytestmark = pytest.mark.usefixtures("long_backoff")

USERS = 20
EVERYBODY = {"sent": USERS}


@pytest.fixture
def smtp() -> Iterator[FaultySmtp]:
    """Return a mail server, whose faults can be changed."""
    with run_in_thread(FaultySmtp()) as server:
        yield server


def email(port: int, host: str = LOOPBACK) -> Senders:
    extra = {"from_email": "Sluice <sluice@bank.example>", "disable_ssl": True, "disable_tls": True}
    server = MailServer.from_connection_without_recipients(host=host, port=port, login="", password="", extra=extra)
    return {"email": EmailSender(EmailConfig(server, connections=3))}


def try_all(post: NoticeHarness, run_id: int, senders: Senders, templates: Templates | None = None) -> int:
    """Send all that is due, over new connections; return how many deliveries are deferred then."""
    hurry(post, run_id)
    try:
        send(post.notice, run_id, 0, db=post.db, limiter=post.limiter, senders=senders, templates=templates)
    except DeliveriesDeferred:
        return sum(deferrals.count(post.db, run_id).values())
    return 0


def plan(post: NoticeHarness, notice: Notice = FAST, templates: Templates | None = None) -> tuple[int, list[int]]:
    post.notice = replace(notice, chunk_size=100)
    users = post.enrol(USERS)
    return post.plan(templates=templates).run_id, users


@pytest.mark.parametrize(
    ("faults", "error_class"),
    [
        (SmtpFaults(greylisted=0.5, greylisted_for=timedelta(hours=1)), "450"),
        (SmtpFaults(refused=0.5, refusal="452 4.2.2 mailbox is full"), "452"),
        (SmtpFaults(refused=0.5, refusal="451 4.3.0 try again later"), "451"),
        (SmtpFaults(mails_per_second=0.001, burst=5), "454"),
        (SmtpFaults(refuses_until=timedelta(hours=1)), "421"),
    ],
    ids=["greylisting", "full mailboxes", "451", "throttling", "421 for everybody"],
)
def test_mails_that_a_server_refuses_for_a_while_arrive_once(
    post: NoticeHarness, smtp: FaultySmtp, faults: SmtpFaults, error_class: str
) -> None:
    run_id, users = plan(post)
    smtp.faults = faults
    deferred = try_all(post, run_id, email(smtp.port))
    assert deferred > 0
    assert check_counters(post, run_id)["deferred"] == deferred
    assert any(error_class in name for name in deferrals.count(post.db, run_id))
    smtp.faults = SmtpFaults()
    assert try_all(post, run_id, email(smtp.port)) == 0
    assert smtp.accepted == dict.fromkeys(map(address, users), 1)
    assert check_counters(post, run_id) == EVERYBODY
    assert post.run(run_id).state == "done"


@pytest.mark.parametrize("host", [LOOPBACK, "no-such-host.invalid"], ids=["connection refused", "unresolvable name"])
def test_mails_arrive_once_after_their_server_could_not_be_reached(
    post: NoticeHarness, smtp: FaultySmtp, host: str
) -> None:
    run_id, users = plan(post)
    closed_port = next(port for port in candidates() if is_free(port))
    assert try_all(post, run_id, email(closed_port, host)) == USERS
    assert try_all(post, run_id, email(smtp.port)) == 0
    assert smtp.accepted == dict.fromkeys(map(address, users), 1)
    assert check_counters(post, run_id) == EVERYBODY


@pytest.mark.parametrize("status", [429, 503])
def test_pushes_that_firebase_refuses_for_a_while_arrive_once(post: NoticeHarness, tmp_path: Path, status: int) -> None:
    def refuse(code: int, retry_after: str) -> object:
        name = "RESOURCE_EXHAUSTED" if code == 429 else "UNAVAILABLE"
        return refusal(code, name, "QUOTA_EXCEEDED" if code == 429 else name, retry_after=retry_after)

    notice = replace(FAST, channels=(PUSH,))
    (folder := tmp_path / notice.name).mkdir()
    for name in notice.template_names:
        (folder / name).write_text("text")
    templates = Templates(notice, tmp_path)
    run_id, users = plan(post, notice, templates)
    for user in users:
        add_contact(post.db, user, "push", f"phone-{user}")
    faults = PushFaults(share=0.5, status=status, retry_after="600", tries=1, refuse=refuse)  # type: ignore[arg-type]
    with run_in_thread(Firebase(faults=faults)) as firebase:
        config = FcmConfig.from_connection(
            host=firebase.url, port=None, login="", password="", extra={"keyfile_dict": firebase.keyfile()}
        )
        assert try_all(post, run_id, {"push": FcmSender(config)}, templates) == faults.refusals[status] > 0
        assert try_all(post, run_id, {"push": FcmSender(config)}, templates) == 0
    assert sorted(message["token"] for message in firebase.messages) == sorted(f"phone-{user}" for user in users)
    assert check_counters(post, run_id) == EVERYBODY
