"""The e-mail channel with real SMTP servers: encryption, login and connection settings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.clients.mail_server import MailServer, Security
from etl.errors import ChannelRefused
from etl.mail_address import MailAddress
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.channels.email import EmailConfig, EmailSender
from tests.integration.clients.smtp_server import LOGIN, PASSWORD, SmtpServer, write_certificate

PARTS = {"subject": "Grüße", "text": "Hällo\n", "html": "<p>Hällo</p>\n"}
LINK = "https://bank.example/unsubscribe?token=abc"
ALL_SECURITIES = list(Security)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path / "mail.pem")


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def send(server: MailServer, count: int) -> list[SendResult]:
    config = EmailConfig(server, connections=3)
    messages = [Message(place, f"u{place}@home.example", PARTS, unsubscribe_url=LINK) for place in range(count)]

    async def send_and_close() -> list[SendResult]:
        try:
            async with EmailSender(config) as channel:
                return await channel.send(messages)
        finally:
            # An encrypted connection is closed in several steps.
            await asyncio.sleep(0.1)

    return asyncio.run(send_and_close())


@pytest.mark.parametrize("security", ALL_SECURITIES)
def test_each_mail_arrives_once_with_every_security(security: Security, trusted: Path) -> None:
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
@pytest.mark.parametrize("security", ALL_SECURITIES)
def test_login_is_sent_if_required_and_a_wrong_one_is_an_error(security: Security, trusted: Path) -> None:
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


def test_unreachable_server_defers_all_mails(certificate: Path) -> None:
    server = SmtpServer(Security.PLAIN, certificate)
    assert {result.outcome for result in send(server.mail_server(), 5)} == {SendOutcome.DEFERRED}


def config_from_connection(**extra: Any) -> EmailConfig:
    fields: dict[str, Any] = {"from_email": "Sluice <a@b.example>", "disable_ssl": True, "disable_tls": True} | extra
    return EmailConfig.from_connection(host="mail", port=None, login="me", password="hunter2", extra=fields)


def test_connection_sets_server_sender_and_limits() -> None:
    config = config_from_connection(connections=3, mails_per_connection="50")
    assert (str(config.server), config.server.security) == ("mail:25", Security.PLAIN)
    assert config.server.from_address == MailAddress("a@b.example", "Sluice")
    assert (config.connections, config.mails_per_connection) == (3, 50)
    assert config.reply_timeout > timedelta(0)
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"from_email": ""}, "from_email"),
        ({"from_email": "nobody"}, "from_email"),
        ({"connections": "many"}, "number"),
        ({"mails_per_connection": -1}, "less than 1"),
    ],
)
def test_invalid_connection_is_refused_with_the_reason(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ChannelRefused, match=message):
        config_from_connection(**extra)
