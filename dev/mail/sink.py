"""`python -m dev.mail.sink`: take mails as fast as one process can, and keep nothing but which came and when.

For measurements and drills. Every mail is one line of a file, `<delivery id> <instant> <address>`: the id from its
Message-ID, 0 if that is none of a delivery's; the instant in seconds of the machine's monotonic clock; and to whom. A
line is there soon after its mail; all are when the process has ended.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dev.servers import private_files
from dev.servers.ports import LOOPBACK

_RCPT_TO = re.compile(rb"RCPT TO:<([^> ]*)>", re.IGNORECASE)
_DELIVERY_ID = re.compile(rb"^Message-ID: <delivery\.(\d+)@", re.MULTILINE | re.IGNORECASE)
_END_OF_MAIL = b"\r\n.\r\n"
_FLUSH_INTERVAL = timedelta(milliseconds=50)
_REPLIES = {
    b"EHLO": b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 farewell\r\n",
}


class SmtpProtocol(asyncio.Protocol):
    """One connection.

    Parameters
    ----------
    on_mail
        Called with the address and the content of each mail, before its sender hears that it was taken.
    """

    def __init__(self, on_mail: Callable[[bytes, bytes], None]) -> None:
        self._on_mail = on_mail
        self._recipient = b"?"
        self._buffer = bytearray()
        self._in_mail = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport
            transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer whatever has come in whole."""
        self._buffer += data
        while self._handle_mail() if self._in_mail else self._handle_command():
            pass

    def _handle_mail(self) -> bool:
        end = self._buffer.find(_END_OF_MAIL)
        if end < 0:
            return False
        self._on_mail(self._recipient, bytes(self._buffer[:end]))
        del self._buffer[: end + len(_END_OF_MAIL)]
        self._in_mail = False
        self._reply(b"250 taken\r\n")
        return True

    def _handle_command(self) -> bool:
        line, ended, _ = self._buffer.partition(b"\r\n")
        if not ended:
            return False
        del self._buffer[: len(line) + len(ended)]
        if to := _RCPT_TO.match(line):
            self._recipient = to[1]
        verb = bytes(line[:4]).upper()
        self._reply(_REPLIES.get(verb, b"250 ok\r\n"))
        if verb == b"DATA":
            self._in_mail = True
            # A mail without a line would begin with its final dot.
            self._buffer[:0] = b"\r\n"
        if verb == b"QUIT" and self._transport:
            self._transport.close()
        return True

    def _reply(self, line: bytes) -> None:
        if self._transport:
            self._transport.write(line)


async def serve(port: int, record: Path) -> None:
    """Take mails until the process is asked to end."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for asked in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(asked, ended.set)
    private_files.write(record, "")
    with record.open("ab") as file:

        def took(to: bytes, mail: bytes) -> None:
            found = _DELIVERY_ID.search(mail)
            file.write(b"%b %.6f %b\n" % (found[1] if found else b"0", time.monotonic(), to))

        server = await loop.create_server(lambda: SmtpProtocol(took), LOOPBACK, port, backlog=512)
        async with server:
            while not ended.is_set():
                file.flush()
                await asyncio.sleep(_FLUSH_INTERVAL.total_seconds())


def main(
    port: Annotated[int, typer.Option(help="Loopback port to listen on.")],
    record: Annotated[Path, typer.Option(help="File for a line for each mail; it is made anew.")],
) -> None:
    """Take mails, and count them."""
    asyncio.run(serve(port, record))


if __name__ == "__main__":
    typer.run(main)
