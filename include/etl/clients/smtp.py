"""Mails through an SMTP server: a connection that stays open for many mails, and one mail with retries."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio import WriteTransport
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import aiosmtplib
import stamina
from aiosmtplib import SMTPException, SMTPResponse, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from etl.clients.mail import MailContent
from etl.clients.mail_server import MailServer, Security
from etl.clients.mime import MimeBuilder, MimeMessage, SubjectMalformed
from etl.clients.smtp_reply import SmtpOutcome, SmtpResult, SmtpScope, SmtpStage, classify
from etl.errors import MailRefused, MailServerUnavailable

_MAX_ATTEMPTS = 3
_MAX_DURATION = timedelta(seconds=30)
_INITIAL_WAIT = timedelta(milliseconds=500)
_MAX_WAIT = timedelta(seconds=5)

_POSITIVE, _PERMANENT = 2, 5
"""First digits of reply codes (RFC 5321, 4.2.1)."""

_START_MAIL_INPUT = 354

_END_OF_MAIL = b".\r\n"
_MAX_SINGLE_WRITE = 1 << 16
"""Bytes of a mail that is written together with its final dot; the dot of a larger one waits until the rest is sent."""

_CONNECTION_LOST = "ConnectionLost"
_POLL_INTERVAL = timedelta(milliseconds=5)

_MAX_LENGTH = 2_000
"""Characters of an error that are read."""

log = logging.getLogger(__name__)


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
        self._stage = SmtpStage.CONNECT
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

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._client.is_connected

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
        is_lost = was_connected and not result.is_reply and result.error_class == _CONNECTION_LOST
        if is_lost and result.outcome is SmtpOutcome.DEFERRED:
            result = await self.send_once(mail)
        return result

    async def send_once(self, mail: MimeMessage) -> SmtpResult:
        """Send a mail as `send` does, but only once, over the connection that is open or over a new one."""
        self._stage = SmtpStage.CONNECT
        try:
            await self._connect()
            refusal = await self._send_envelope(mail)
        except (SMTPException, OSError) as error:
            self._abort()
            return self._to_result(error, SmtpOutcome.DEFERRED)
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
        self._stage = SmtpStage.MAIL
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
        self._stage = SmtpStage.RCPT
        for recipient in mail.recipients:
            reply = await self._client.execute_command(b"RCPT", b"TO:<%b>" % recipient.address.encode())
            if reply.code // 100 != _POSITIVE:
                refusals.append(reply)
        if len(refusals) == len(mail.recipients):
            # One transient refusal is enough to retry.
            return await self._reset(min(refusals, key=lambda refusal: refusal.code))
        self._refused_recipients = len(refusals)
        self._stage = SmtpStage.DATA
        reply = await self._client.execute_command(b"DATA")
        return None if reply.code == _START_MAIL_INPUT else await self._reset(reply)

    async def _reset(self, refusal: SMTPResponse) -> SmtpResult:
        """Reset the connection for the next mail, or close it if the server does not do that; return the refusal."""
        is_reset = False
        with suppress(SMTPException, OSError):
            is_reset = (await self._client.execute_command(b"RSET")).code // 100 == _POSITIVE
        if not is_reset:
            self._abort()
        return classify(self._stage, refusal.code, refusal.message)

    async def _send_content(self, content: bytes) -> SmtpResult:
        """Send a mail that the server waits for.

        Once its final dot is in the kernel's buffer, only a reply tells whether the server has accepted the mail.
        """
        protocol = self._client.protocol
        self._stage = SmtpStage.CONTENT
        is_written = False
        try:
            if protocol is None:
                return self._to_result(SMTPServerDisconnected("it closed before the mail"), SmtpOutcome.DEFERRED)
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
            return self._to_result(error, SmtpOutcome.UNKNOWN if is_written else SmtpOutcome.DEFERRED)
        except BaseException:
            self._abort()
            raise
        if reply.code // 100 == _POSITIVE:
            return SmtpResult(SmtpOutcome.SENT)
        result = classify(self._stage, reply.code, reply.message, default=SmtpOutcome.UNKNOWN)
        if result.outcome is SmtpOutcome.UNKNOWN or reply.code == aiosmtplib.SMTPStatus.domain_unavailable:
            self._abort()
        return result

    def _to_result(self, error: Exception, outcome: SmtpOutcome) -> SmtpResult:
        """Return an error of the connection as a result; a mail domain may be why a command is not answered."""
        is_timeout = isinstance(error, TimeoutError) and self._stage >= SmtpStage.RCPT
        scope = SmtpScope.DESTINATION if is_timeout else SmtpScope.SERVER
        return SmtpResult(
            outcome,
            _error_class(error),
            (error.message if isinstance(error, SMTPException) else str(error))[:_MAX_LENGTH],
            scope=scope,
            stage=self._stage,
            is_reply=False,
        )


async def _wait_until_flushed(protocol: SMTPProtocol) -> None:
    """Wait until everything written has been sent, or the connection is lost, which the next write reports."""
    while isinstance(protocol.transport, WriteTransport) and protocol.transport.get_write_buffer_size():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(_POLL_INTERVAL.total_seconds())


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
    return _CONNECTION_LOST


def _first_characters(text: str) -> str:
    """Return a text as one line of at most 200 characters."""
    return " ".join(text[:_MAX_LENGTH].split())[:200]
