"""Mails, through real SMTP servers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dev.servers.ports import LOOPBACK
from etl.clients import smtp
from etl.clients.mail import MailContent
from etl.clients.mail_server import MailServer, Security
from etl.clients.mime import MimeMessage
from etl.clients.smtp import SmtpConnection
from etl.clients.smtp_reply import SmtpOutcome
from etl.errors import MailRefused, MailServerUnavailable
from tests.integration.clients.scripted_smtp import HANG_UP, ScriptedSmtp
from tests.integration.clients.smtp_server import LOGIN, PASSWORD, SmtpServer, write_certificate

MAIL = MailContent("etl_transactions is late", "Late – by 34 min.\n", "<p>Late – by <b>34 min</b>.</p>\n")
PLAIN = {"from_email": "a@b.example", "disable_ssl": True, "disable_tls": True}
ALL_SECURITIES = list(Security)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return write_certificate(tmp_path / "mail.pem")


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


def send(server: MailServer) -> None:
    async def send_and_close() -> None:
        try:
            await smtp.send(MAIL, server, message_id="missed.run.1", thread_id="run.1")
        finally:
            # An encrypted connection is closed in several steps.
            await asyncio.sleep(0.1)

    asyncio.run(send_and_close())


def send_to_scripted(server: ScriptedSmtp, *, to: str = "c@d.example") -> None:
    async def send_and_close() -> None:
        async with server:
            connection = MailServer.from_connection(
                host=LOOPBACK, port=server.port, login="", password="", extra=PLAIN | {"to": to}
            )
            await smtp.send(MAIL, connection, message_id="missed.run.1", thread_id="run.1")

    asyncio.run(send_and_close())


@pytest.mark.parametrize("security", ALL_SECURITIES)
def test_mail_arrives_once_as_text_and_html_with_every_security(security: Security, trusted: Path) -> None:
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
@pytest.mark.parametrize("security", ALL_SECURITIES)
def test_login_is_sent_if_required_and_a_wrong_one_is_an_error(security: Security, trusted: Path) -> None:
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


def test_temporary_refusal_is_retried(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        server.inbox.answers += ["451 greylisted"]
        send(server.mail_server())
    assert len(server.inbox.mails) == 1


def test_permanent_refusal_is_not_retried(certificate: Path) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        server.inbox.answers += ["554 no"]
        with pytest.raises(MailRefused, match="554"):
            send(server.mail_server())
    assert server.inbox.mails == []


def test_refused_recipient_does_not_affect_others(certificate: Path, caplog: pytest.LogCaptureFixture) -> None:
    with SmtpServer(Security.PLAIN, certificate) as server:
        server.inbox.unknown = {"on-call@bank.example"}
        send(server.mail_server())
        assert len(server.inbox.mails) == 1
        assert "refused 1 of 2 recipients" in caplog.text
        server.inbox.unknown |= {"second@bank.example"}
        with pytest.raises(MailRefused, match=r"550: 5\.1\.1 no such mailbox"):
            send(server.mail_server())
    assert len(server.inbox.mails) == 1


@pytest.mark.parametrize(("code", "error"), [(450, MailServerUnavailable), (551, MailRefused)])
def test_mail_is_retried_unless_every_recipient_is_refused_permanently(code: int, error: type[Exception]) -> None:
    server = ScriptedSmtp({"RCPT": ["550 no", f"{code} no"] * 3})
    with pytest.raises(error, match=str(min(code, 550))):
        send_to_scripted(server, to="c@d.example,e@f.example")
    assert server.connections == (3 if error is MailServerUnavailable else 1)


def test_a_mail_that_is_given_up_does_not_leave_afterwards() -> None:
    content = b"Subject: large\r\n\r\n" + b"x" * 998 + b"\r\n"
    content *= 64 * 1024
    received = 0

    async def read_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.write(b"220 here\r\n")
        while not (await reader.readline()).startswith(b"DATA"):
            writer.write(b"250 ok\r\n")
        writer.write(b"354 go on\r\n")
        given_up.set()
        await asyncio.sleep(1)
        with suppress(ConnectionError):
            while block := await reader.read(1 << 20):
                received += len(block)
        writer.close()
        read.set()

    given_up, read = asyncio.Event(), asyncio.Event()

    async def send_and_give_up() -> SmtpOutcome:
        async with await asyncio.start_server(read_late, LOOPBACK, 0) as listener:
            server = MailServer.from_connection(
                host=LOOPBACK,
                port=listener.sockets[0].getsockname()[1],
                login="",
                password="",
                extra=PLAIN | {"to": "c@d.example"},
            )
            connection = SmtpConnection(server, None, max_mails=1, reply_timeout=timedelta(seconds=0.3))
            result = await connection.send_once(MimeMessage(server.recipients, content))
            await asyncio.wait_for(read.wait(), 30)
            await connection.close()
            return result.outcome

    assert asyncio.run(send_and_give_up()) is SmtpOutcome.DEFERRED
    assert received < len(content) / 2


@pytest.mark.parametrize("script", [{"MAIL": "421 later"}, {".": "421 later"}, {"MAIL": HANG_UP}], ids=repr)
def test_each_attempt_is_one_connection_to_a_server_that_closes_it(script: dict[str, str]) -> None:
    server = ScriptedSmtp(dict(script))
    with pytest.raises(MailServerUnavailable):
        send_to_scripted(server)
    assert server.connections == 3


def test_mail_is_sent_to_a_server_that_knows_only_helo() -> None:
    server = ScriptedSmtp({"EHLO": "502 no", "HELO": "250 here"})
    send_to_scripted(server)
    assert len(server.mails) == 1


def test_subject_with_a_control_character_is_refused() -> None:
    server = MailServer.from_connection(
        host=LOOPBACK, port=1, login="", password="", extra=PLAIN | {"to": "c@d.example"}
    )
    with pytest.raises(MailRefused, match="the subject holds a line break or control character"):
        asyncio.run(smtp.send(replace(MAIL, subject="a\x07b"), server, message_id="missed.run.1", thread_id="run.1"))


def test_unreachable_server_is_named(certificate: Path) -> None:
    server = SmtpServer(Security.PLAIN, certificate)
    with pytest.raises(MailServerUnavailable, match=rf"mail server 127\.0\.0\.1:{server.port}: "):
        send(server.mail_server())


@pytest.mark.parametrize(("name", "value"), [("from_email", "nobody"), ("to", "c@d.example, nobody")])
def test_connection_with_a_malformed_address_is_refused_and_the_field_named(name: str, value: str) -> None:
    extra = {"from_email": "a@b.example", "to": "c@d.example"} | {name: value}
    with pytest.raises(MailRefused, match=rf"`{name}` of its connection is no .*: it has no @; .*smtp_default"):
        MailServer.from_connection(host="mail", port=None, login="", password="", extra=extra)


@pytest.mark.parametrize("missing", ["host", "from_email", "to"])
def test_incomplete_connection_is_refused_and_the_missing_field_named(missing: str) -> None:
    extra = {"from_email": "a@b.example", "to": "c@d.example"} | ({missing: ""} if missing != "host" else {})
    with pytest.raises(MailRefused, match=rf"lacks .*{missing}.*smtp_default"):
        MailServer.from_connection(
            host="" if missing == "host" else "mail", port=None, login="", password="", extra=extra
        )


def test_a_connection_is_read_as_airflows_own_smtp_provider_reads_it() -> None:
    servers = [
        MailServer.from_connection(
            host="mail",
            port=None,
            login="",
            password="",
            extra={"from_email": "a@b.example", "to": ["c@d.example"], **extra},
        )
        for extra in ({}, {"disable_ssl": "true"}, {"disable_ssl": True, "disable_tls": True})
    ]
    assert [(server.security, server.port) for server in servers] == [
        (Security.TLS, 465),
        (Security.STARTTLS, 587),
        (Security.PLAIN, 25),
    ]
