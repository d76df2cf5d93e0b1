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
from etl.notify.channels.address import Mailbox
from etl.notify.channels.channel import Outcome, Verdict, legible
from etl.notify.channels.mime import Letter

_POSITIVE, _TRANSIENT, _PERMANENT = 2, 4, 5
"""First digits of replies (RFC 5321, 4.2.1)."""

_GO_ON = 354
_NO_SUCH_MAILBOX = re.compile(r"5\.1\.(?:1|6|10)\b")
"""There is none, it moved, or its domain takes no mail (RFC 3463, 3.2, and RFC 7505)."""

_END = b".\r\n"
_AT_ONCE = 1 << 16
"""Bytes of a mail that is written with its final dot; of a larger one, the dot waits until the rest has left."""

_GLANCE = timedelta(milliseconds=5)
_RESPITE = timedelta(seconds=5)
"""How long a server that could not be reached is left alone; the mails of that time are deferred at once."""


class Line:
    """One connection, for one mail at a time.

    Parameters
    ----------
    server, trust
        Where to, and whom to trust there.
    sender
        Who gets what bounces.
    most
        Mails before it is opened anew; servers hang up on those who never do.
    patience
        Longest wait for the last answer, in which servers look for spam.
    """

    def __init__(
        self, server: MailServer, trust: ssl.SSLContext | None, *, sender: Mailbox, most: int, patience: timedelta
    ) -> None:
        self._sender = sender
        self._most = most
        self._patience = patience.total_seconds()
        self._login = (server.login, server.password) if server.login and server.password else None
        self._mails = 0
        self._shut: tuple[float, Verdict] | None = None
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=trust,
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
        if self._client.is_connected and self._mails < self._most:
            return
        await self.close()
        self._mails = 0
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

    async def deliver(self, letter: Letter) -> Verdict:
        """Hand a mail over.

        A server may hang up on an open line at any time, and says so only to the next mail, which is not to suffer:
        as long as it has surely not been taken, it goes over a new one.
        """
        used = self._client.is_connected
        verdict = await self._try(letter)
        if used and verdict.outcome is Outcome.DEFERRED and not self._client.is_connected:
            verdict = await self._try(letter)
        return verdict

    async def _try(self, letter: Letter) -> Verdict:
        now = asyncio.get_running_loop().time()
        if self._shut and now < self._shut[0]:
            return self._shut[1]
        self._shut = None
        opened = False
        try:
            await self.open()
            opened = True
            refusal = await self._announce(letter)
        except (SMTPException, OSError) as error:
            self._drop()
            verdict = Verdict(Outcome.DEFERRED, _class(error), legible(str(error)))
            if not opened:
                self._shut = now + _RESPITE.total_seconds(), verdict
            return verdict
        except BaseException:
            self._drop()
            raise
        return refusal or await self._hand_over(letter.content)

    def _drop(self) -> None:
        """Hang up; what has not left does not leave any more."""
        transport = self._client.transport
        self._client.close()
        if isinstance(transport, WriteTransport):
            transport.abort()

    async def _announce(self, letter: Letter) -> Verdict | None:
        """Say who gets a mail, until the server waits for it; return why it does not."""
        self._mails += 1
        options: tuple[bytes, ...] = ()
        if self._sender.international or letter.to.international:
            if not self._client.supports_extension("smtputf8"):
                return Verdict(Outcome.FAILED, "SMTPUTF8", "the server takes no addresses that are not ASCII")
            options = (b"SMTPUTF8",)
        reply = await self._command(b"MAIL", b"FROM:<%b>" % self._sender.address.encode(), *options)
        if reply.code // 100 != _POSITIVE:
            return await self._refusal(reply)
        reply = await self._command(b"RCPT", b"TO:<%b>" % letter.to.address.encode())
        if reply.code // 100 != _POSITIVE:
            return await self._refusal(reply, of_mailbox=True)
        reply = await self._command(b"DATA")
        return None if reply.code == _GO_ON else await self._refusal(reply)

    async def _command(self, *words: bytes) -> SMTPResponse:
        return await self._client.execute_command(*words)

    async def _refusal(self, reply: SMTPResponse, *, of_mailbox: bool = False) -> Verdict:
        with suppress(SMTPException, OSError):
            reset = await self._command(b"RSET")
            if reset.code // 100 == _POSITIVE:
                return _verdict(reply, otherwise=Outcome.DEFERRED, of_mailbox=of_mailbox)
        self._drop()
        return _verdict(reply, otherwise=Outcome.DEFERRED, of_mailbox=of_mailbox)

    async def _hand_over(self, content: bytes) -> Verdict:
        """Send a mail that the server waits for.

        From the moment that its final dot is with the kernel, only an answer tells whether the server has it.
        """
        protocol = self._client.protocol
        sent = False
        try:
            if protocol is None:
                return Verdict(Outcome.DEFERRED, "ConnectionLost", "the server hung up before the mail")
            stuffed = content.replace(b"\r\n.", b"\r\n..")
            if len(stuffed) > _AT_ONCE:
                protocol.write(stuffed)
                async with asyncio.timeout(self._patience):
                    await _flushed(protocol)
                stuffed = b""
            protocol.write(stuffed + _END)
            sent = True
            reply = await protocol.read_response(timeout=self._patience)
        except (SMTPException, OSError) as error:
            self._drop()
            return Verdict(Outcome.UNKNOWN if sent else Outcome.DEFERRED, _class(error), legible(str(error)))
        except BaseException:
            self._drop()
            raise
        verdict = _verdict(reply, otherwise=Outcome.UNKNOWN)
        if verdict.outcome is Outcome.UNKNOWN or reply.code == aiosmtplib.SMTPStatus.domain_unavailable:
            self._drop()
        return verdict


async def _flushed(protocol: SMTPProtocol) -> None:
    """Wait until all that was written has left, or the connection is lost, of which the next writing tells."""
    while isinstance(protocol.transport, WriteTransport) and protocol.transport.get_write_buffer_size():  # noqa: ASYNC110 - tells by no event
        await asyncio.sleep(_GLANCE.total_seconds())


def _verdict(reply: SMTPResponse, *, otherwise: Outcome, of_mailbox: bool = False) -> Verdict:
    kind = reply.code // 100
    if kind == _POSITIVE and otherwise is Outcome.UNKNOWN:
        return Verdict(Outcome.SENT)
    outcome = {_TRANSIENT: Outcome.DEFERRED, _PERMANENT: Outcome.FAILED}.get(kind, otherwise)
    ended = of_mailbox and kind == _PERMANENT and bool(_NO_SUCH_MAILBOX.match(reply.message))
    return Verdict(outcome, str(reply.code), legible(reply.message), ended)


def _class(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        return str(error.code)
    if isinstance(error, TimeoutError):
        return "Timeout"
    if isinstance(error, aiosmtplib.SMTPConnectError) or not isinstance(error, ConnectionError):
        return type(error).__name__
    return "ConnectionLost"
