"""Mails to many, by every way to a server, and whom it lets in."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.clients.smtp import MailServer, Security
from etl.errors import ChannelRefused
from etl.notify.channels.address import MailAddress
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.channels.email import EmailConfig, EmailSender
from tests.integration.clients.smtp_server import LOGIN, PASSWORD, SmtpServer, write_certificate

PARTS = {"subject": "Grüße", "text": "Hällo\n", "html": "<p>Hällo</p>\n"}
LINK = "https://bank.example/unsubscribe?token=abc"
EVERY = list(Security)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path / "mail.pem")


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def send(server: MailServer, count: int) -> list[SendResult]:
    mailing = EmailConfig(server, MailAddress("sluice@bank.example", "Sluice"), connections=3)
    messages = [Message(place, f"u{place}@home.example", PARTS, unsubscribe_url=LINK) for place in range(count)]

    async def send_and_part() -> list[SendResult]:
        try:
            async with EmailSender(mailing) as channel:
                return await channel.send(messages)
        finally:
            # Both ends of an encrypted connection part in several steps.
            await asyncio.sleep(0.1)

    return asyncio.run(send_and_part())


@pytest.mark.parametrize("security", EVERY)
def test_each_mail_arrives_once_by_every_way(security: Security, trusted: Path) -> None:
    with SmtpServer(security, trusted) as server:
        results = send(server.mail_server(), 20)
    assert {result.outcome for result in results} == {SendOutcome.SENT}
    assert set(server.inbox.encrypted) == {security is not Security.PLAIN}
    assert sorted(str(mail["To"]) for mail in server.inbox.mails) == sorted(
        f"u{place}@home.example" for place in range(20)
    )
    mail = server.inbox.mails[0]
    text, html = (mail.get_body((form,)) for form in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == PARTS["text"]
    assert html.get_content().replace("\r\n", "\n") == PARTS["html"]
    assert (mail["Subject"], mail["List-Unsubscribe"]) == (PARTS["subject"], f"<{LINK}>")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", EVERY)
def test_a_server_that_asks_for_a_login_gets_it_and_a_wrong_one_stops_the_start(
    security: Security, trusted: Path
) -> None:
    with SmtpServer(security, trusted, requires_login=True) as server:
        assert {result.outcome for result in send(server.mail_server(login=LOGIN, password=PASSWORD), 5)} == {
            SendOutcome.SENT
        }
        with pytest.raises(ChannelRefused, match="SMTPAuthenticationError") as refused:
            send(server.mail_server(login=LOGIN, password="hunter2"), 5)
    assert "hunter2" not in str(refused.value)
    assert len(server.inbox.mails) == 5


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_nothing_is_sent_to_a_server_whose_certificate_is_not_trusted(security: Security, certificate: Path) -> None:
    with SmtpServer(security, certificate) as server:
        with pytest.raises(ChannelRefused, match=r"(?i)certificate"):
            send(server.mail_server(), 5)
        assert {result.outcome for result in send(replace(server.mail_server(), verify_certificate=False), 5)} == {
            SendOutcome.SENT
        }


def test_nothing_is_sent_in_the_clear_to_a_server_without_starttls(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server, pytest.raises(ChannelRefused, match="STARTTLS"):
        send(replace(server.mail_server(), security=Security.STARTTLS), 5)
    assert server.inbox.mails == []


def test_a_server_that_is_not_there_defers_all(certificate: Path) -> None:
    server = SmtpServer(Security.PLAIN, certificate)
    assert {result.outcome for result in send(server.mail_server(), 5)} == {SendOutcome.DEFERRED}


def of_connection(**extra: Any) -> EmailConfig:
    fields: dict[str, Any] = {"from_email": "Sluice <a@b.example>", "disable_ssl": True, "disable_tls": True} | extra
    return EmailConfig.from_connection(host="mail", port=None, login="me", password="hunter2", extra=fields)


def test_a_connection_is_read_as_for_single_mails_but_names_no_recipients() -> None:
    mailing = of_connection(connections=3, mails_per_connection="50")
    assert (str(mailing.server), mailing.server.security) == ("mail:25", Security.PLAIN)
    assert mailing.from_address == MailAddress("a@b.example", "Sluice")
    assert (mailing.connections, mailing.mails_per_connection) == (3, 50)
    assert mailing.reply_timeout > timedelta(0)
    assert "hunter2" not in repr(mailing)


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"from_email": ""}, "from_email"),
        ({"from_email": "nobody"}, "from_email"),
        ({"connections": "many"}, "number"),
        ({"mails_per_connection": -1}, "less than 1"),
    ],
)
def test_a_connection_that_cannot_be_used_says_why(extra: dict[str, Any], found: str) -> None:
    with pytest.raises(ChannelRefused, match=found):
        of_connection(**extra)
