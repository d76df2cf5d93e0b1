"""Mails through an SMTP server: a connection that stays open for many mails, and one mail with retries."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from asyncio import WriteTransport
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

import aiosmtplib
import stamina
from aiosmtplib import SMTPException, SMTPResponse
from aiosmtplib.protocol import SMTPProtocol

from etl.clients.mail import MailContent
from etl.clients.mail_server import MailServer, Security
from etl.clients.mime import MimeBuilder, MimeMessage, SubjectMalformed
from etl.errors import MailRefused, MailServerUnavailable

_MAX_ATTEMPTS = 3
_MAX_DURATION = timedelta(seconds=30)
_INITIAL_WAIT = timedelta(milliseconds=500)
_MAX_WAIT = timedelta(seconds=5)

_POSITIVE, _TRANSIENT, _PERMANENT = 2, 4, 5
"""First digits of reply codes (RFC 5321, 4.2.1)."""

_START_MAIL_INPUT = 354
_NO_SUCH_MAILBOX = re.compile(r"5\.1\.(?:1|6|10)\b")
"""The mailbox does not exist, has moved, or its domain accepts no mail (RFC 3463, 3.2, and RFC 7505)."""

_END_OF_MAIL = b".\r\n"
_MAX_SINGLE_WRITE = 1 << 16
"""Bytes of a mail that is written together with its final dot; the dot of a larger one waits until the rest is sent."""

_POLL_INTERVAL = timedelta(milliseconds=5)
_FAILURE_COOLDOWN = timedelta(seconds=5)
"""How long a server that could not be reached is not retried; mails of that time are deferred at once."""

log = logging.getLogger(__name__)


class SmtpOutcome(Enum):
    """Whether a server has accepted a mail."""

    SENT = "sent"
    """It accepted the mail."""
    FAILED = "failed"
    """It rejected the mail permanently."""
    DEFERRED = "deferred"
    """It has not accepted the mail, and may accept it later."""
    UNKNOWN = "unknown"
    """The connection broke between the end of the mail and the reply."""


@dataclass(frozen=True)
class SmtpResult:
    """The result of sending one mail.

    Parameters
    ----------
    outcome
        Whether the server has accepted it.
    error_class
        Short and countable, such as `550` or `ConnectionLost`; empty if it was sent.
    error
        What the server replied; may quote addresses.
    is_mailbox_unknown
        Whether the server said that the recipient's mailbox does not exist.
    """

    outcome: SmtpOutcome
    error_class: str = ""
    error: str = ""
    is_mailbox_unknown: bool = False


async def send(mail: MailContent, server: MailServer, *, message_id: str, thread_id: str) -> None:
    """Send one mail to the recipients of a server's connection; retry for half a minute at most.

    Parameters
    ----------
    message_id
        Identifies the mail, without a domain; a mail that is sent again keeps its id, so that mailboxes can discard it.
    thread_id
        Identifies what the mail is about, so that mail programs group such mails.

    Raises
    ------
    MailServerUnavailable
        If the server does not reply, or asks to retry later.
    MailRefused
        If it rejects the mail, or the connection's settings are wrong.
    """
    try:
        message = MimeBuilder(server.from_address).build(
            mail, server.recipients, message_id=message_id, thread_id=thread_id, sent_at=datetime.now(UTC)
        )
    except SubjectMalformed:
        raise MailRefused(str(server), "the subject holds a line break or control character") from None
    retrying = stamina.AsyncRetryingCaller(
        attempts=_MAX_ATTEMPTS, timeout=_MAX_DURATION, wait_initial=_INITIAL_WAIT, wait_max=_MAX_WAIT
    )
    await retrying(MailServerUnavailable, _send_over_new_connection, message, server)


async def _send_over_new_connection(mail: MimeMessage, server: MailServer) -> None:
    connection = SmtpConnection(server, build_tls_context(server), max_mails=1, reply_timeout=server.timeout)
    try:
        await connection.open()
        result = await connection.send_once(mail)
    finally:
        await connection.close()
    if result.outcome is not SmtpOutcome.SENT:
        error_type = MailRefused if result.outcome is SmtpOutcome.FAILED else MailServerUnavailable
        raise error_type(str(server), _first_characters(f"{result.error_class}: {result.error}"))


def build_tls_context(server: MailServer) -> ssl.SSLContext | None:
    """Return which certificates to trust; None for a connection that is not encrypted."""
    if server.security is Security.PLAIN:
        return None
    context = ssl.create_default_context()
    if not server.verify_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class SmtpConnection:
    """A connection that stays open for many mails, one at a time, and is opened again when it breaks.

    The protocol is aiosmtplib's. Its `sendmail` is not used, since it does not tell whether a connection broke before
    or after the end of a mail.

    Parameters
    ----------
    server, tls_context
        The server, and which certificates to trust.
    max_mails
        Mails after which it is opened anew; some servers close connections that never are.
    reply_timeout
        Maximum wait for the reply to a mail, before which servers look for spam.
    """

    def __init__(
        self, server: MailServer, tls_context: ssl.SSLContext | None, *, max_mails: int, reply_timeout: timedelta
    ) -> None:
        self._server = server
        self._max_mails = max_mails
        self._reply_timeout = reply_timeout.total_seconds()
        self._mail_count = 0
        self._refused_recipients = 0
        self._outage: tuple[float, SmtpResult] | None = None
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=tls_context,
            timeout=server.timeout.total_seconds(),
            # The default queries a name server, and blocks.
            local_hostname=socket.gethostname(),
        )

    async def open(self) -> None:
        """Connect and log in, unless it is open.

        Raises
        ------
        MailServerUnavailable
            If the server does not reply, or asks to retry later.
        MailRefused
            If it rejects the connection or the login, or its certificate is not trusted.
        """
        try:
            await self._connect()
        except (SMTPException, OSError) as error:
            raise _classify_error(error, self._server) from None

    async def close(self) -> None:
        """Quit, if it is open."""
        if self._client.is_connected:
            with suppress(SMTPException, OSError):
                await self._client.quit()
        self._client.close()

    async def send(self, mail: MimeMessage) -> SmtpResult:
        """Send a mail, and return whether the server has accepted it; if only for some recipients, log that.

        A server may close an idle connection at any time, and the client learns of it with the next mail only. Such a
        mail is sent again over a new connection, as long as it has certainly not been accepted.
        """
        was_connected = self._client.is_connected
        result = await self.send_once(mail)
        if was_connected and result.outcome is SmtpOutcome.DEFERRED and not self._client.is_connected:
            result = await self.send_once(mail)
        return result

    async def send_once(self, mail: MimeMessage) -> SmtpResult:
        """Send a mail as `send` does, but only once, over the connection that is open or over a new one."""
        now = asyncio.get_running_loop().time()
        if self._outage and now < self._outage[0]:
            return self._outage[1]
        self._outage = None
        is_open = False
        try:
            await self._connect()
            is_open = True
            refusal = await self._send_envelope(mail)
        except (SMTPException, OSError) as error:
            self._abort()
            result = SmtpResult(SmtpOutcome.DEFERRED, _error_class(error), str(error))
            if not is_open:
                self._outage = now + _FAILURE_COOLDOWN.total_seconds(), result
            return result
        except BaseException:
            self._abort()
            raise
        result = refusal or await self._send_content(mail.content)
        if result.outcome is SmtpOutcome.SENT and self._refused_recipients:
            log.warning(
                "mail server %s refused %d of %d recipients of a mail",
                self._server,
                self._refused_recipients,
                len(mail.recipients),
            )
        return result

    async def _connect(self) -> None:
        if self._client.is_connected and self._mail_count < self._max_mails:
            return
        await self.close()
        self._mail_count = 0
        try:
            await self._client.connect()
            await self._greet()
            if self._server.login and self._server.password:
                await self._client.login(self._server.login, self._server.password)
        except BaseException:
            self._client.close()
            raise

    async def _greet(self) -> None:
        """Say EHLO, or HELO to a server that knows nothing else."""
        try:
            await self._client.ehlo()
        except aiosmtplib.SMTPHeloError:
            if not self._client.is_connected:
                raise
            await self._client.helo()

    def _abort(self) -> None:
        """Close the connection at once; discard what has not been sent."""
        transport = self._client.transport
        self._client.close()
        if isinstance(transport, WriteTransport):
            transport.abort()

    async def _send_envelope(self, mail: MimeMessage) -> SmtpResult | None:
        """Send the addresses of a mail, until the server waits for the mail; return its refusal if it does not."""
        self._mail_count += 1
        options: tuple[bytes, ...] = ()
        if mail.needs_smtputf8:
            if not self._client.supports_extension("smtputf8"):
                return SmtpResult(SmtpOutcome.FAILED, "SMTPUTF8", "the server accepts no addresses that are not ASCII")
            options = (b"SMTPUTF8",)
        sender = (mail.return_path or self._server.from_address.address).encode()
        reply = await self._client.execute_command(b"MAIL", b"FROM:<%b>" % sender, *options)
        if reply.code // 100 != _POSITIVE:
            return await self._reset(reply)
        refusals = []
        for recipient in mail.recipients:
            reply = await self._client.execute_command(b"RCPT", b"TO:<%b>" % recipient.address.encode())
            if reply.code // 100 != _POSITIVE:
                refusals.append(reply)
        if len(refusals) == len(mail.recipients):
            # One transient refusal is enough to retry.
            return await self._reset(min(refusals, key=lambda refusal: refusal.code), is_rcpt_reply=True)
        self._refused_recipients = len(refusals)
        reply = await self._client.execute_command(b"DATA")
        return None if reply.code == _START_MAIL_INPUT else await self._reset(reply)

    async def _reset(self, refusal: SMTPResponse, *, is_rcpt_reply: bool = False) -> SmtpResult:
        """Reset the connection for the next mail, or close it if the server does not do that; return the refusal."""
        is_reset = False
        with suppress(SMTPException, OSError):
            is_reset = (await self._client.execute_command(b"RSET")).code // 100 == _POSITIVE
        if not is_reset:
            self._abort()
        return _to_result(refusal, default=SmtpOutcome.DEFERRED, is_rcpt_reply=is_rcpt_reply)

    async def _send_content(self, content: bytes) -> SmtpResult:
        """Send a mail that the server waits for.

        Once its final dot is in the kernel's buffer, only a reply tells whether the server has accepted the mail.
        """
        protocol = self._client.protocol
        is_written = False
        try:
            if protocol is None:
                return SmtpResult(SmtpOutcome.DEFERRED, "ConnectionLost", "the server closed before the mail")
            stuffed = content.replace(b"\r\n.", b"\r\n..")
            if len(stuffed) > _MAX_SINGLE_WRITE:
                protocol.write(stuffed)
                async with asyncio.timeout(self._reply_timeout):
                    await _wait_until_flushed(protocol)
                stuffed = b""
            protocol.write(stuffed + _END_OF_MAIL)
            is_written = True
            reply = await protocol.read_response(timeout=self._reply_timeout)
        except (SMTPException, OSError) as error:
            self._abort()
            outcome = SmtpOutcome.UNKNOWN if is_written else SmtpOutcome.DEFERRED
            return SmtpResult(outcome, _error_class(error), str(error))
        except BaseException:
            self._abort()
            raise
        if reply.code // 100 == _POSITIVE:
            return SmtpResult(SmtpOutcome.SENT)
        result = _to_result(reply, default=SmtpOutcome.UNKNOWN)
        if result.outcome is SmtpOutcome.UNKNOWN or reply.code == aiosmtplib.SMTPStatus.domain_unavailable:
            self._abort()
        return result


async def _wait_until_flushed(protocol: SMTPProtocol) -> None:
    """Wait until everything written has been sent, or the connection is lost, which the next write reports."""
    while isinstance(protocol.transport, WriteTransport) and protocol.transport.get_write_buffer_size():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(_POLL_INTERVAL.total_seconds())


def _to_result(refusal: SMTPResponse, *, default: SmtpOutcome, is_rcpt_reply: bool = False) -> SmtpResult:
    """Return a refusal as a result; `default` is the outcome of a code that means neither later nor never."""
    kind = refusal.code // 100
    outcome = {_TRANSIENT: SmtpOutcome.DEFERRED, _PERMANENT: SmtpOutcome.FAILED}.get(kind, default)
    is_mailbox_unknown = is_rcpt_reply and kind == _PERMANENT and bool(_NO_SUCH_MAILBOX.match(refusal.message))
    return SmtpResult(outcome, str(refusal.code), refusal.message, is_mailbox_unknown)


def _classify_error(error: Exception, server: MailServer) -> MailRefused | MailServerUnavailable:
    """Return why a connection could not be opened, as a permanent or a transient error; it never holds credentials."""
    detail = _first_characters(f"{type(error).__name__}: {error}")
    has_bad_certificate = isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError)
    is_permanent = isinstance(error, aiosmtplib.SMTPResponseException) and error.code // 100 >= _PERMANENT
    # An extension that the server lacks, such as STARTTLS, is an error without a code and without a class of its own.
    if has_bad_certificate or is_permanent or type(error) in (SMTPException, aiosmtplib.SMTPNotSupported):
        return MailRefused(str(server), detail)
    return MailServerUnavailable(str(server), detail)


def _error_class(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return str(error.code)
    if isinstance(error, TimeoutError):
        return "Timeout"
    if isinstance(error, aiosmtplib.SMTPConnectError) or not isinstance(error, ConnectionError):
        return type(error).__name__
    return "ConnectionLost"


def _first_characters(text: str) -> str:
    """Return a text as one line of at most 200 characters."""
    return " ".join(text.split())[:200]
