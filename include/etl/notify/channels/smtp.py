"""A connection to a mail server that is kept open for many mails, and opened again when it breaks."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from asyncio import WriteTransport
from contextlib import suppress
from datetime import timedelta

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponse
from aiosmtplib.protocol import SMTPProtocol

from etl.clients.smtp import MailServer, Security
from etl.notify.channels.address import MailAddress
from etl.notify.channels.channel import SendOutcome, SendVerdict, redact_error
from etl.notify.channels.mime import MimeMessage

_POSITIVE, _TRANSIENT, _PERMANENT = 2, 4, 5
"""First digits of replies (RFC 5321, 4.2.1)."""

_START_MAIL_INPUT = 354
_NO_SUCH_MAILBOX = re.compile(r"5\.1\.(?:1|6|10)\b")
"""There is none, it moved, or its domain takes no mail (RFC 3463, 3.2, and RFC 7505)."""

_END_OF_MAIL = b".\r\n"
_MAX_SINGLE_WRITE = 1 << 16
"""Bytes of a mail that is written with its final dot; of a larger one, the dot waits until the rest has left."""

_POLL_INTERVAL = timedelta(milliseconds=5)
_FAILURE_COOLDOWN = timedelta(seconds=5)
"""How long a server that could not be reached is left alone; the mails of that time are deferred at once."""


class SmtpConnection:
    """One connection, for one mail at a time.

    Parameters
    ----------
    server, tls_context
        Where to, and whom to trust there.
    envelope_from
        Who gets what bounces.
    max_mails
        Mails before it is opened anew; servers hang up on those who never do.
    reply_timeout
        Longest wait for the last answer, in which servers look for spam.
    """

    def __init__(
        self,
        server: MailServer,
        tls_context: ssl.SSLContext | None,
        *,
        envelope_from: MailAddress,
        max_mails: int,
        reply_timeout: timedelta,
    ) -> None:
        self._envelope_from = envelope_from
        self._max_mails = max_mails
        self._reply_timeout = reply_timeout.total_seconds()
        self._login = (server.login, server.password) if server.login and server.password else None
        self._mail_count = 0
        self._outage: tuple[float, SendVerdict] | None = None
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=tls_context,
            timeout=server.timeout.total_seconds(),
            # Its default asks a name server, and waits for it.
            local_hostname=socket.gethostname(),
        )

    async def open(self) -> None:
        """Connect and log in, if it is not open.

        Raises
        ------
        aiosmtplib.SMTPException, OSError
            If the server does not let it.
        """
        if self._client.is_connected and self._mail_count < self._max_mails:
            return
        await self.close()
        self._mail_count = 0
        try:
            await self._client.connect()
            await self._client.ehlo()
            if self._login:
                await self._client.login(*self._login)
        except BaseException:
            self._client.close()
            raise

    async def close(self) -> None:
        """Say farewell, if it is open."""
        if self._client.is_connected:
            with suppress(SMTPException, OSError):
                await self._client.quit()
        self._client.close()

    async def send(self, mail: MimeMessage) -> SendVerdict:
        """Hand a mail over.

        A server may hang up on an open line at any time, and says so only to the next mail, which is not to suffer:
        as long as it has surely not been taken, it goes over a new one.
        """
        used = self._client.is_connected
        verdict = await self._send_once(mail)
        if used and verdict.outcome is SendOutcome.DEFERRED and not self._client.is_connected:
            verdict = await self._send_once(mail)
        return verdict

    async def _send_once(self, mail: MimeMessage) -> SendVerdict:
        now = asyncio.get_running_loop().time()
        if self._outage and now < self._outage[0]:
            return self._outage[1]
        self._outage = None
        opened = False
        try:
            await self.open()
            opened = True
            refusal = await self._send_envelope(mail)
        except (SMTPException, OSError) as error:
            self._abort()
            verdict = SendVerdict(SendOutcome.DEFERRED, _error_class(error), redact_error(str(error)))
            if not opened:
                self._outage = now + _FAILURE_COOLDOWN.total_seconds(), verdict
            return verdict
        except BaseException:
            self._abort()
            raise
        return refusal or await self._send_content(mail.content)

    def _abort(self) -> None:
        """Hang up; what has not left does not leave any more."""
        transport = self._client.transport
        self._client.close()
        if isinstance(transport, WriteTransport):
            transport.abort()

    async def _send_envelope(self, mail: MimeMessage) -> SendVerdict | None:
        """Say who gets a mail, until the server waits for it; return why it does not."""
        self._mail_count += 1
        options: tuple[bytes, ...] = ()
        if self._envelope_from.needs_smtputf8 or mail.to.needs_smtputf8:
            if not self._client.supports_extension("smtputf8"):
                return SendVerdict(SendOutcome.FAILED, "SMTPUTF8", "the server takes no addresses that are not ASCII")
            options = (b"SMTPUTF8",)
        reply = await self._command(b"MAIL", b"FROM:<%b>" % self._envelope_from.address.encode(), *options)
        if reply.code // 100 != _POSITIVE:
            return await self._handle_refusal(reply)
        reply = await self._command(b"RCPT", b"TO:<%b>" % mail.to.address.encode())
        if reply.code // 100 != _POSITIVE:
            return await self._handle_refusal(reply, is_rcpt_reply=True)
        reply = await self._command(b"DATA")
        return None if reply.code == _START_MAIL_INPUT else await self._handle_refusal(reply)

    async def _command(self, *parts: bytes) -> SMTPResponse:
        return await self._client.execute_command(*parts)

    async def _handle_refusal(self, reply: SMTPResponse, *, is_rcpt_reply: bool = False) -> SendVerdict:
        with suppress(SMTPException, OSError):
            reset = await self._command(b"RSET")
            if reset.code // 100 == _POSITIVE:
                return _to_verdict(reply, default=SendOutcome.DEFERRED, is_rcpt_reply=is_rcpt_reply)
        self._abort()
        return _to_verdict(reply, default=SendOutcome.DEFERRED, is_rcpt_reply=is_rcpt_reply)

    async def _send_content(self, content: bytes) -> SendVerdict:
        """Send a mail that the server waits for.

        From the moment that its final dot is with the kernel, only an answer tells whether the server has it.
        """
        protocol = self._client.protocol
        sent = False
        try:
            if protocol is None:
                return SendVerdict(SendOutcome.DEFERRED, "ConnectionLost", "the server hung up before the mail")
            stuffed = content.replace(b"\r\n.", b"\r\n..")
            if len(stuffed) > _MAX_SINGLE_WRITE:
                protocol.write(stuffed)
                async with asyncio.timeout(self._reply_timeout):
                    await _wait_until_flushed(protocol)
                stuffed = b""
            protocol.write(stuffed + _END_OF_MAIL)
            sent = True
            reply = await protocol.read_response(timeout=self._reply_timeout)
        except (SMTPException, OSError) as error:
            self._abort()
            return SendVerdict(
                SendOutcome.UNKNOWN if sent else SendOutcome.DEFERRED, _error_class(error), redact_error(str(error))
            )
        except BaseException:
            self._abort()
            raise
        verdict = _to_verdict(reply, default=SendOutcome.UNKNOWN)
        if verdict.outcome is SendOutcome.UNKNOWN or reply.code == aiosmtplib.SMTPStatus.domain_unavailable:
            self._abort()
        return verdict


async def _wait_until_flushed(protocol: SMTPProtocol) -> None:
    """Wait until all that was written has left, or the connection is lost, of which the next writing tells."""
    while isinstance(protocol.transport, WriteTransport) and protocol.transport.get_write_buffer_size():  # noqa: ASYNC110 - tells by no event
        await asyncio.sleep(_POLL_INTERVAL.total_seconds())


def _to_verdict(reply: SMTPResponse, *, default: SendOutcome, is_rcpt_reply: bool = False) -> SendVerdict:
    kind = reply.code // 100
    if kind == _POSITIVE and default is SendOutcome.UNKNOWN:
        return SendVerdict(SendOutcome.SENT)
    outcome = {_TRANSIENT: SendOutcome.DEFERRED, _PERMANENT: SendOutcome.FAILED}.get(kind, default)
    ended = is_rcpt_reply and kind == _PERMANENT and bool(_NO_SUCH_MAILBOX.match(reply.message))
    return SendVerdict(outcome, str(reply.code), redact_error(reply.message), ended)


def _error_class(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return str(error.code)
    if isinstance(error, TimeoutError):
        return "Timeout"
    if isinstance(error, aiosmtplib.SMTPConnectError) or not isinstance(error, ConnectionError):
        return type(error).__name__
    return "ConnectionLost"
