"""A mail server that has a bad night: it greylists, throttles, caps connections, hangs up, drips and hangs.

Which recipients meet a fault depends on the seed and their address only, not on the order of the mails.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Self

from dev.servers.ports import LOOPBACK

_MESSAGE_ID = re.compile(rb"^message-id:\s*<([^>]+)>", re.IGNORECASE | re.MULTILINE)


@dataclass
class SmtpFaults:
    """What a server does wrong; without arguments it accepts everything.

    Parameters
    ----------
    seed
        Chooses the recipients of the faults that have a share.
    greylisted, greylisted_for
        Share of the recipients that get 450 until so much time has passed since their first mail.
    refused, refusal
        Share of the recipients that always get this reply to RCPT, and the reply.
    closed
        Share of the recipients at whose first mail the server closes the connection with 421, after MAIL.
    reset
        Share of the recipients at whose first mail the connection is reset after the final dot; of these, half are
        accepted.
    hanging
        Share of the recipients whose RCPT is never answered in their first mail.
    dripping
        Share of the recipients whose replies come byte by byte.
    hanging_domain
        Domain whose RCPT is never answered.
    refused_domain
        Domain of which every recipient gets `refusal`.
    max_connections
        Connections above it get 421 as their greeting.
    mails_per_second, burst
        Token bucket: mails above it get 454 to MAIL.
    refuses_until
        Time since its start in which it refuses everybody, with 421 as its greeting.
    """

    seed: int = 0
    greylisted: float = 0.0
    greylisted_for: timedelta = timedelta(seconds=1)
    refused: float = 0.0
    refusal: str = "550 5.1.1 no such user"
    closed: float = 0.0
    reset: float = 0.0
    hanging: float = 0.0
    dripping: float = 0.0
    hanging_domain: str = ""
    refused_domain: str = ""
    max_connections: int | None = None
    mails_per_second: float | None = None
    burst: int = 10
    refuses_until: timedelta = timedelta()

    def strike(self, fault: str, address: str, share: float) -> bool:
        """Return whether a fault meets an address."""
        return share > 0 and Random(f"{self.seed}/{fault}/{address}").random() < share


@dataclass
class FaultySmtp:
    """An async context manager; see `run_in_thread` for code that is not async.

    Parameters
    ----------
    faults
        What it does wrong; may be replaced while it runs.

    Attributes
    ----------
    accepted
        Address → mails that were accepted for it, also those whose reply was lost.
    messages
        Address and message id of each mail that was accepted.
    in_doubt
        Addresses whose mail was reset after its final dot.
    refusals
        Reply code → how often it was given.
    attempts
        Mails that were begun.
    connections, max_open
        Connections that were opened, and the most that were served at the same time.
    """

    faults: SmtpFaults = field(default_factory=SmtpFaults)
    clock: Callable[[], float] = time.monotonic
    accepted: Counter[str] = field(default_factory=Counter)
    messages: list[tuple[str, str]] = field(default_factory=list)
    in_doubt: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    connections: int = 0
    max_open: int = 0
    _open: int = 0
    _tokens: float = 0.0
    _refilled_at: float = 0.0
    _first_seen: dict[str, float] = field(default_factory=dict)
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    _sessions: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, limit=1 << 20, backlog=1024)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._started_at = self._refilled_at = self.clock()
        self._tokens = self.faults.burst
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        self.connections += 1
        greeting = self._greet()
        self._open += 1
        self.max_open = max(self.max_open, self._open - (greeting != "220 here"))
        try:
            await _Session(self, reader, writer).run(greeting)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open -= 1
            writer.close()

    def _greet(self) -> str:
        faults = self.faults
        if self.clock() - self._started_at < faults.refuses_until.total_seconds():
            return self.refuse("421 4.3.2 come back later")
        if faults.max_connections is not None and self._open >= faults.max_connections:
            return self.refuse("421 4.7.0 too many connections")
        return "220 here"

    def refuse(self, reply: str) -> str:
        """Count a refusal, and return it."""
        self.refusals[reply[:3]] += 1
        return reply

    def accept(self, address: str, content: bytes) -> None:
        """Record a mail that is accepted."""
        self.accepted[address] += 1
        message_id = _MESSAGE_ID.search(content)
        self.messages.append((address, message_id[1].decode() if message_id else ""))

    def take_token(self) -> bool:
        """Return whether the token bucket has a mail left, and take it."""
        rate = self.faults.mails_per_second
        if rate is None:
            return True
        now = self.clock()
        self._tokens = min(self.faults.burst, self._tokens + (now - self._refilled_at) * rate)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def is_greylisted(self, address: str) -> bool:
        """Return whether an address must wait, which counts from its first mail."""
        faults, now = self.faults, self.clock()
        if not faults.strike("greylisted", address, faults.greylisted):
            return False
        return now - self._first_seen.setdefault(address, now) < faults.greylisted_for.total_seconds()

    def is_first(self, fault: str, address: str, share: float) -> bool:
        """Return whether a fault that strikes an address once strikes it now."""
        if not self.faults.strike(fault, address, share):
            return False
        self._tries[fault, address] += 1
        return self._tries[fault, address] == 1


@dataclass
class _Session:
    server: FaultySmtp
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    address: str = ""

    async def run(self, greeting: str) -> None:
        await self._reply(greeting)
        while not greeting.startswith("421") and (line := await self.reader.readline()):
            command = line[:4].strip().upper().decode()
            reply = self._answer(command, line.decode())
            if reply is None:
                # Nothing is answered until the client gives up.
                await self.reader.read()
                return
            await self._reply(reply)
            if reply.startswith(("221", "421")):
                return
            if reply.startswith("354") and not await self._receive():
                return

    def _answer(self, command: str, line: str) -> str | None:
        match command:
            case "EHLO":
                return "250-here\r\n250 SMTPUTF8"
            case "MAIL":
                self.address = ""
                self.server.attempts += 1
                return "250 ok" if self.server.take_token() else self.server.refuse("454 4.7.0 slow down")
            case "RCPT":
                self.address = line.partition("<")[2].partition(">")[0]
                return self._answer_recipient(self.address)
            case "DATA":
                return "354 go on"
            case "QUIT":
                return "221 bye"
        return "250 ok"

    def _answer_recipient(self, address: str) -> str | None:
        server, faults = self.server, self.server.faults
        if address.endswith(f"@{faults.hanging_domain}") or server.is_first("hanging", address, faults.hanging):
            return None
        if server.is_first("closed", address, faults.closed):
            return server.refuse("421 4.3.0 closing")
        if faults.strike("refused", address, faults.refused) or address.endswith(f"@{faults.refused_domain}"):
            return server.refuse(faults.refusal)
        if server.is_greylisted(address):
            return server.refuse("450 4.2.0 greylisted")
        return "250 ok"

    async def _receive(self) -> bool:
        """Receive a mail, and answer it; return whether the connection is still open."""
        content = await self.reader.readuntil(b"\r\n.\r\n")
        server, faults = self.server, self.server.faults
        if not server.is_first("reset", self.address, faults.reset):
            server.accept(self.address, content)
            await self._reply("250 taken")
            return True
        server.in_doubt.add(self.address)
        if faults.strike("accepted before the reset", self.address, 0.5):
            server.accept(self.address, content)
        self.writer.transport.abort()
        return False

    async def _reply(self, reply: str) -> None:
        content = f"{reply}\r\n".encode()
        faults = self.server.faults
        if not (self.address and faults.strike("dripping", self.address, faults.dripping)):
            self.writer.write(content)
            return
        for byte in content:
            self.writer.write(bytes((byte,)))
            await asyncio.sleep(0.005)
