"""Mails to many, over a few connections to an SMTP server that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiosmtplib import SMTPException

from etl.clients.smtp import MailServer, Security, build_tls_context, classify_error
from etl.errors import ChannelRefused, MailRefused
from etl.notify.channels.address import AddressMalformed, MailAddress, parse_address
from etl.notify.channels.channel import Message, MessageUnsendable, SendResult, send_concurrently
from etl.notify.channels.mime import MimeBuilder
from etl.notify.channels.smtp import SmtpConnection

DEFAULT_CONNECTIONS = 8
"""More gain nothing with one process at each end."""

_DEFAULT_MAILS_PER_CONNECTION = 1000
_REPLY_TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True)
class EmailConfig:
    """Where mails to many go, and how.

    Parameters
    ----------
    server
        Where to, and from whom; its recipients are not read.
    from_address
        From whom, checked.
    connections
        How many at the same time.
    mails_per_connection
        After so many, a connection is opened anew.
    reply_timeout
        Longest wait for a server's last answer to a mail; after it, nobody knows whether the server has it.
    """

    server: MailServer
    from_address: MailAddress
    connections: int = DEFAULT_CONNECTIONS
    mails_per_connection: int = _DEFAULT_MAILS_PER_CONNECTION
    reply_timeout: timedelta = _REPLY_TIMEOUT

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> EmailConfig:
        """Read an Airflow connection of type `smtp`, with `connections` and `mails_per_connection` in its extra.

        Raises
        ------
        ChannelRefused
            If it names no host or no sender, or what it says cannot be used.
        """
        try:
            server = MailServer.from_connection_without_recipients(
                host=host, port=port, login=login, password=password, extra=extra
            )
            connections = int(extra.get("connections") or DEFAULT_CONNECTIONS)
            most = int(extra.get("mails_per_connection") or _DEFAULT_MAILS_PER_CONNECTION)
        except MailRefused as error:
            raise ChannelRefused("email", host, error.detail) from None
        except (TypeError, ValueError):
            raise ChannelRefused("email", host, "a number in its extra is none") from None
        if min(connections, most) < 1:
            raise ChannelRefused("email", host, "a number in its extra is less than 1")
        try:
            return cls(server, parse_address(server.from_address), connections, most)
        except AddressMalformed as error:
            raise ChannelRefused("email", host, f"`from_email` is no mail address: {error}") from None


class EmailSender:
    """Hands mails to one SMTP server; see `Channel`.

    Parameters
    ----------
    config
        Where to, and how.
    """

    def __init__(self, config: EmailConfig) -> None:
        self._config = config
        self._mime_builder = MimeBuilder(config.from_address)
        self._idle: asyncio.LifoQueue[SmtpConnection] = asyncio.LifoQueue()

    @property
    def host(self) -> str:
        """Address of the server."""
        return str(self._config.server)

    async def __aenter__(self) -> Self:
        """Open one connection, so that wrong credentials stop the start.

        Raises
        ------
        ChannelRefused
            If the server does not let it, and never will; one that is away for now does not matter yet.
        """
        mailing = self._config
        trusted = build_tls_context(mailing.server) if mailing.server.security is not Security.PLAIN else None
        lines = [
            SmtpConnection(
                mailing.server,
                trusted,
                envelope_from=mailing.from_address,
                max_mails=mailing.mails_per_connection,
                reply_timeout=mailing.reply_timeout,
            )
            for _ in range(mailing.connections)
        ]
        try:
            await lines[-1].open()
        except (SMTPException, OSError) as error:
            found = classify_error(error, mailing.server)
            if isinstance(found, MailRefused):
                raise ChannelRefused("email", self.host, found.detail) from None
        # What was used last is used first: few mails open few connections.
        for line in lines:
            self._idle.put_nowait(line)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Part from the server."""
        lines = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        await asyncio.gather(*(line.close() for line in lines))

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Hand mails over, and return what came of each, in their order."""
        return await send_concurrently(messages, self._send, concurrency=self._config.connections)

    async def _send(self, message: Message) -> SendResult:
        try:
            letter = self._mime_builder.build(message, sent_at=datetime.now(UTC))
        except MessageUnsendable as error:
            return error.verdict.to_result(message)
        line = await self._idle.get()
        try:
            verdict = await line.send(letter)
        finally:
            self._idle.put_nowait(line)
        return verdict.to_result(message)
