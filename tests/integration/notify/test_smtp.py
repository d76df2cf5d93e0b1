"""A notice that is sent through a real mail server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from dev.servers.ports import LOOPBACK
from etl.clients.mail_server import Security
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.send import send
from tests.integration.clients.smtp_server import SmtpServer
from tests.integration.notify.notice_harness import NoticeHarness, address

_PERMANENT = 500


@dataclass
class OneConnection:
    """A channel over one connection to a mail server."""

    port: int
    host: str = LOOPBACK

    async def __aenter__(self) -> OneConnection:
        self._client = aiosmtplib.SMTP(hostname=self.host, port=self.port, start_tls=False)
        await self._client.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.quit()

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        return [await self._send(message) for message in messages]

    async def _send(self, message: Message) -> SendResult:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@bank.example", message.address, message.parts["subject"]
        mail.set_content(message.parts["text"])
        mail.add_alternative(message.parts["html"], subtype="html")
        try:
            await self._client.send_message(mail)
        except aiosmtplib.SMTPResponseException as refused:
            outcome = SendOutcome.FAILED if refused.code >= _PERMANENT else SendOutcome.DEFERRED
            return SendResult(message.delivery_id, outcome, str(refused.code), refused.message)
        return SendResult(message.delivery_id, SendOutcome.SENT)


@pytest.fixture
def mail_server(tmp_path: Path) -> Iterator[SmtpServer]:
    """Return a mail server."""
    with SmtpServer(Security.PLAIN, tmp_path / "unused") as started:
        yield started


@pytest.mark.usefixtures("short_backoff")
def test_mail_server_gets_one_mail_per_recipient_and_its_refusals_are_respected(
    post: NoticeHarness, mail_server: SmtpServer
) -> None:
    users = post.enrol(6)
    mail_server.inbox.answers = ["550 no such mailbox", "451 later"]
    planned = post.plan()
    send(
        post.notice,
        planned.run_id,
        0,
        db=post.db,
        limiter=post.limiter,
        senders={"email": OneConnection(mail_server.port)},
    )
    received = [str(mail["To"]) for mail in mail_server.inbox.mails]
    assert post.states() == {"sent": 5, "failed": 1}
    assert sorted(received) == sorted(map(address, users[1:]))
    assert {str(mail["Subject"]) for mail in mail_server.inbox.mails} == {"Your spending in October 2026"}
