"""One mail through an SMTP server: in the clear, after STARTTLS, or over TLS from the first byte."""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import Enum
from typing import Any

import aiosmtplib
import stamina

from etl.clients.mail import MailContent
from etl.errors import MailRefused, MailServerUnavailable

_TIMEOUT = timedelta(seconds=10)
_MAX_ATTEMPTS = 3
_MAX_DURATION = timedelta(seconds=30)
_INITIAL_WAIT = timedelta(milliseconds=500)
_MIN_PERMANENT_CODE = 500
"""From this code on, an SMTP server means that trying again cannot help (RFC 5321, 4.2.1)."""

log = logging.getLogger(__name__)


class Security(Enum):
    """How the way to a mail server is kept private, with the port that is usual for it."""

    PLAIN = 25
    STARTTLS = 587
    TLS = 465


@dataclass(frozen=True)
class MailServer:
    """Where mails go, from whom and to whom.

    Parameters
    ----------
    host, port
        Where it listens.
    security
        How the way there is kept private.
    from_address, recipients
        Addresses.
    login, password
        Credentials; empty if it asks for none.
    timeout
        Longest wait for each of its answers.
    verify_certificate
        Whether its certificate must be one that the system trusts.
    """

    host: str
    port: int
    security: Security
    from_address: str
    recipients: tuple[str, ...]
    login: str = ""
    password: str = field(default="", repr=False)
    timeout: timedelta = _TIMEOUT
    verify_certificate: bool = True

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> MailServer:
        """Read an Airflow connection of type `smtp`, as Airflow's own SMTP provider does, and `to` beside it.

        Raises
        ------
        MailRefused
            If it names no host, no sender or no recipient.
        """
        server = cls.from_connection_without_recipients(
            host=host, port=port, login=login, password=password, extra=extra
        )
        if not server.recipients:
            raise MailRefused(str(server), "its connection lacks `to`")
        return server

    @classmethod
    def from_connection_without_recipients(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> MailServer:
        """Read such a connection for mails whose recipients are known from elsewhere.

        Raises
        ------
        MailRefused
            If it names no host or no sender.
        """
        if not _is_true(extra.get("disable_ssl")):
            security = Security.TLS
        else:
            security = Security.PLAIN if _is_true(extra.get("disable_tls")) else Security.STARTTLS
        server = cls(
            host=host,
            port=port or security.value,
            security=security,
            from_address=str(extra.get("from_email") or ""),
            recipients=_parse_addresses(extra.get("to")),
            login=login,
            password=password,
            timeout=min(timedelta(seconds=float(extra.get("timeout") or _TIMEOUT.total_seconds())), _TIMEOUT),
            verify_certificate=extra.get("ssl_context") != "none",
        )
        for name, value in (("a host", host), ("`from_email` in its extra", server.from_address)):
            if not value:
                raise MailRefused(str(server), f"its connection lacks {name}")
        return server

    def __str__(self) -> str:
        """Return its address."""
        return f"{self.host or '(none)'}:{self.port}"


async def send(mail: MailContent, server: MailServer, *, message_id: str, thread_id: str) -> None:
    """Send a mail; tries again for half a minute at most.

    Parameters
    ----------
    message_id
        Names the mail, without a domain; a mail that is sent again has the same, so that mailboxes can tell.
    thread_id
        Names what the mail is about, so that mail programs keep such mails together.

    Raises
    ------
    MailServerSilent
        If the server does not answer, or wants to be asked later.
    MailRefused
        If it does not take the mail, or the connection to it is wrong.
    """
    retrying = stamina.AsyncRetryingCaller(
        attempts=_MAX_ATTEMPTS, timeout=_MAX_DURATION, wait_initial=_INITIAL_WAIT, wait_max=timedelta(seconds=5)
    )
    await retrying(MailServerUnavailable, _send, _build_message(mail, server, message_id, thread_id), server)


async def _send(message: EmailMessage, server: MailServer) -> None:
    tls = server.security is not Security.PLAIN
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.security is Security.TLS,
        start_tls=server.security is Security.STARTTLS,
        tls_context=build_tls_context(server) if tls else None,
        timeout=server.timeout.total_seconds(),
        # Its default asks a name server, and waits for it.
        local_hostname=socket.gethostname(),
    )
    try:
        await client.connect()
        if server.login and server.password:
            await client.login(server.login, server.password)
        refused, _ = await client.send_message(message)
    except (aiosmtplib.SMTPException, OSError) as error:
        client.close()
        raise classify_error(error, server) from None
    except BaseException:
        client.close()
        raise
    # The server has the mail; how it says farewell does not matter.
    with suppress(aiosmtplib.SMTPException, OSError):
        await client.quit()
    if refused:
        log.warning("mail server %s took the mail, but not for %d of its recipients", server, len(refused))


def build_tls_context(server: MailServer) -> ssl.SSLContext:
    """Return whom to trust at a server."""
    context = ssl.create_default_context()
    if not server.verify_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def classify_error(error: Exception, server: MailServer) -> MailRefused | MailServerUnavailable:
    """Return the error by what to do about it; what the server says is cut to a line, and never holds credentials."""
    causes = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else [error]
    codes = [cause.code for cause in causes if isinstance(cause, aiosmtplib.SMTPResponseException)]
    found = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    certificate = isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)
    permanent = bool(codes) and all(code >= _MIN_PERMANENT_CODE for code in codes)
    # What the server cannot do, such as STARTTLS, is an error without a code and without a class of its own.
    if certificate or permanent or type(error) in (aiosmtplib.SMTPException, aiosmtplib.SMTPNotSupported):
        return MailRefused(str(server), found)
    return MailServerUnavailable(str(server), found)


def _build_message(mail: MailContent, server: MailServer, message_id: str, thread_id: str) -> EmailMessage:
    domain = server.from_address.rpartition("@")[2].strip("> ") or "localhost"
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = server.from_address
        message["To"] = ", ".join(server.recipients)
    except (ValueError, IndexError, HeaderParseError):
        raise MailRefused(str(server), "`from_email` or `to` of its connection is no mail address") from None
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id}@{domain}>"
    message["References"] = f"<{thread_id}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def _parse_addresses(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list | tuple) else str(value or "").split(",")
    return tuple(address for item in listed if (address := str(item).strip()))


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in {"true", "1", "yes", "on", "t", "y"}
