"""Mails to many, over a few connections to an SMTP server that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiosmtplib import SMTPException

from etl.clients.smtp import MailServer, Security, classified, trust
from etl.errors import ChannelRefused, MailRefused
from etl.notify.channels.address import AddressMalformed, Mailbox, parse
from etl.notify.channels.channel import Message, Result, Unsendable, side_by_side
from etl.notify.channels.mime import Skeleton
from etl.notify.channels.smtp import Line

CONNECTIONS = 8
"""More gain nothing with one process at each end."""

_MAILS_PER_CONNECTION = 1000
_PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True)
class Mailing:
    """Where mails to many go, and how.

    Parameters
    ----------
    server
        Where to, and from whom; its recipients are not read.
    sender
        From whom, checked.
    connections
        How many at the same time.
    mails_per_connection
        After so many, a connection is opened anew.
    patience
        Longest wait for a server's last answer to a mail; after it, nobody knows whether the server has it.
    """

    server: MailServer
    sender: Mailbox
    connections: int = CONNECTIONS
    mails_per_connection: int = _MAILS_PER_CONNECTION
    patience: timedelta = _PATIENCE

    @classmethod
    def of_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> Mailing:
        """Read an Airflow connection of type `smtp`, with `connections` and `mails_per_connection` in its extra.

        Raises
        ------
        ChannelRefused
            If it names no host or no sender, or what it says cannot be used.
        """
        try:
            server = MailServer.of_sender(host=host, port=port, login=login, password=password, extra=extra)
            connections = int(extra.get("connections") or CONNECTIONS)
            most = int(extra.get("mails_per_connection") or _MAILS_PER_CONNECTION)
        except MailRefused as error:
            raise ChannelRefused("email", host, error.found) from None
        except (TypeError, ValueError):
            raise ChannelRefused("email", host, "a number in its extra is none") from None
        if min(connections, most) < 1:
            raise ChannelRefused("email", host, "a number in its extra is less than 1")
        try:
            return cls(server, parse(server.sender), connections, most)
        except AddressMalformed as error:
            raise ChannelRefused("email", host, f"`from_email` is no mail address: {error}") from None


class EmailChannel:
    """Hands mails to one SMTP server; see `Channel`.

    Parameters
    ----------
    mailing
        Where to, and how.
    """

    def __init__(self, mailing: Mailing) -> None:
        self._mailing = mailing
        self._skeleton = Skeleton(mailing.sender)
        self._idle: asyncio.LifoQueue[Line] = asyncio.LifoQueue()

    @property
    def host(self) -> str:
        """Address of the server."""
        return str(self._mailing.server)

    async def __aenter__(self) -> Self:
        """Open one connection, so that wrong credentials stop the start.

        Raises
        ------
        ChannelRefused
            If the server does not let it, and never will; one that is away for now does not matter yet.
        """
        mailing = self._mailing
        trusted = trust(mailing.server) if mailing.server.security is not Security.PLAIN else None
        lines = [
            Line(
                mailing.server,
                trusted,
                sender=mailing.sender,
                most=mailing.mails_per_connection,
                patience=mailing.patience,
            )
            for _ in range(mailing.connections)
        ]
        try:
            await lines[-1].open()
        except (SMTPException, OSError) as error:
            found = classified(error, mailing.server)
            if isinstance(found, MailRefused):
                raise ChannelRefused("email", self.host, found.found) from None
        # What was used last is used first: few mails open few connections.
        for line in lines:
            self._idle.put_nowait(line)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Part from the server."""
        lines = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        await asyncio.gather(*(line.close() for line in lines))

    async def send(self, messages: Sequence[Message]) -> list[Result]:
        """Hand mails over, and return what came of each, in their order."""
        return await side_by_side(messages, self._send, lanes=self._mailing.connections)

    async def _send(self, message: Message) -> Result:
        try:
            letter = self._skeleton.fill(message, at=datetime.now(UTC))
        except Unsendable as error:
            return error.verdict.of(message)
        line = await self._idle.get()
        try:
            verdict = await line.deliver(letter)
        finally:
            self._idle.put_nowait(line)
        return verdict.of(message)
