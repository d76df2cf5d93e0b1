"""Mails, through real SMTP servers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etl.clients import smtp
from etl.clients.mail import MailContent
from etl.clients.smtp import MailServer, Security
from etl.errors import MailRefused, MailServerUnavailable
from tests.integration.clients.smtp_server import LOGIN, PASSWORD, SmtpServer, write_certificate

MAIL = MailContent("etl_transactions is late", "Late – by 34 min.\n", "<p>Late – by <b>34 min</b>.</p>\n")
EVERY = list(Security)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path / "mail.pem")


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def send(server: MailServer) -> None:
    async def send_and_part() -> None:
        try:
            await smtp.send(MAIL, server, message_id="missed.run.1", thread_id="run.1")
        finally:
            # Both ends of an encrypted connection part in several steps.
            await asyncio.sleep(0.1)

    asyncio.run(send_and_part())


@pytest.mark.parametrize("security", EVERY)
def test_a_mail_arrives_once_as_text_and_html_by_every_way(security: Security, trusted: Path) -> None:
    with SmtpServer(security, trusted) as server:
        send(server.mail_server())
    (mail,) = server.inbox.mails
    assert server.inbox.encrypted == [security is not Security.PLAIN]
    text, html = (mail.get_body((form,)) for form in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert text.get_content().replace("\r\n", "\n") == MAIL.text
    assert html.get_content().replace("\r\n", "\n") == MAIL.html
    assert {name: mail[name] for name in ("Subject", "From", "To", "Message-ID", "References", "Auto-Submitted")} == {
        "Subject": MAIL.subject,
        "From": "Sluice <sluice@bank.example>",
        "To": "on-call@bank.example, second@bank.example",
        "Message-ID": "<missed.run.1@bank.example>",
        "References": "<run.1@bank.example>",
        "Auto-Submitted": "auto-generated",
    }
    assert mail["Date"].datetime.tzinfo is not None


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
@pytest.mark.parametrize("security", EVERY)
def test_a_server_that_asks_for_a_login_gets_it(security: Security, trusted: Path) -> None:
    with SmtpServer(security, trusted, requires_login=True) as server:
        send(server.mail_server(login=LOGIN, password=PASSWORD))
        with pytest.raises(MailRefused, match="SMTPAuthenticationError") as refused:
            send(server.mail_server(login=LOGIN, password="hunter2"))
    assert "hunter2" not in str(refused.value)
    assert len(server.inbox.mails) == 1


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_nothing_is_sent_to_a_server_whose_certificate_is_not_trusted(security: Security, certificate: Path) -> None:
    with SmtpServer(security, certificate) as server:
        with pytest.raises(MailRefused, match=r"(?i)certificate"):
            send(server.mail_server())
        extra = {"disable_ssl": security is Security.STARTTLS, "ssl_context": "none"}
        send(server.mail_server(extra={"from_email": "a@b.example", "to": "c@d.example", **extra}))
    assert len(server.inbox.mails) == 1


def test_nothing_is_sent_in_the_clear_to_a_server_without_starttls(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        extra = {"from_email": "a@b.example", "to": "c@d.example", "disable_ssl": True}
        with pytest.raises(MailRefused, match="STARTTLS"):
            send(server.mail_server(extra=extra))
    assert server.inbox.mails == []


def test_a_server_that_asks_for_patience_is_asked_again(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        server.inbox.answers += ["451 greylisted"]
        send(server.mail_server())
    assert len(server.inbox.mails) == 1


def test_a_server_that_refuses_is_not_asked_again(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        server.inbox.answers += ["554 no"]
        with pytest.raises(MailRefused, match="554"):
            send(server.mail_server())
    assert server.inbox.mails == []


def test_a_server_that_does_not_answer_is_named(certificate: Path) -> None:
    server = SmtpServer(Security.PLAIN, certificate)
    with pytest.raises(MailServerUnavailable, match=rf"mail server 127\.0\.0\.1:{server.port}: "):
        send(server.mail_server())


@pytest.mark.parametrize("lacking", ["host", "from_email", "to"])
def test_a_connection_that_lacks_something_says_what(lacking: str) -> None:
    extra = {"from_email": "a@b.example", "to": "c@d.example"} | ({lacking: ""} if lacking != "host" else {})
    with pytest.raises(MailRefused, match=rf"lacks .*{lacking}.*smtp_default"):
        MailServer.from_connection(
            host="" if lacking == "host" else "mail", port=None, login="", password="", extra=extra
        )


def test_a_connection_is_read_as_airflows_own_smtp_provider_reads_it() -> None:
    found = [
        MailServer.from_connection(
            host="mail",
            port=None,
            login="",
            password="",
            extra={"from_email": "a@b.example", "to": ["c@d.example"], **extra},
        )
        for extra in ({}, {"disable_ssl": "true"}, {"disable_ssl": True, "disable_tls": True})
    ]
    assert [(server.security, server.port) for server in found] == [
        (Security.TLS, 465),
        (Security.STARTTLS, 587),
        (Security.PLAIN, 25),
    ]
