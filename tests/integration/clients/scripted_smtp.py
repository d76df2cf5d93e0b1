"""A mail server that replies and hangs up by a script."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from dev.servers.ports import LOOPBACK

DEFAULT_REPLIES = {
    "greeting": "220 here",
    "EHLO": "250-here\r\n250 SMTPUTF8",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    ".": "250 taken",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}
HANG_UP = ""
SILENCE = "…"


@dataclass
class ScriptedSmtp:
    """An async context manager.

    Parameters
    ----------
    script
        Replies by command; `greeting` is the start of a connection, `body` the first line of a mail, `.` its end.
        The replies of a list are used one after another, then `DEFAULT_REPLIES`. `HANG_UP` closes the connection,
        `SILENCE` sends no reply.
    """

    script: dict[str, str | list[str]] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve_connection, LOOPBACK, 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _answer(self, command: str) -> str:
        reply = self.script.get(command, DEFAULT_REPLIES.get(command, "500 what?"))
        if isinstance(reply, list):
            return reply.pop(0) if reply else DEFAULT_REPLIES[command]
        return reply

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        command = "greeting"
        try:
            while command and (answer := self._answer(command)) != HANG_UP:
                if answer != SILENCE:
                    writer.write(f"{answer}\r\n".encode())
                if answer.startswith(("221", "421")):
                    break
                command = await self._read_command(reader, within_mail=command == "DATA" and answer.startswith("354"))
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _read_command(self, reader: asyncio.StreamReader, *, within_mail: bool) -> str:
        if within_mail:
            if (answer := self.script.get("body")) is not None:
                await reader.readline()
                await asyncio.sleep(0 if answer == HANG_UP else 2)
                return ""
            try:
                self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            except asyncio.IncompleteReadError:
                return ""
            self.arrived.set()
            return "."
        line = (await reader.readline()).decode()
        self.commands.append(line.strip())
        return line[:4].strip().upper()
