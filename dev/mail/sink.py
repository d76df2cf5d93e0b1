"""Receive mails as fast as one process can, and record only which arrived and when: `python -m dev.mail.sink`.

For measurements and drills. Each mail becomes one line of a file, `<delivery id> <instant> <address>`: the id from its
Message-ID, 0 if that is not a delivery's; the instant in seconds of the machine's monotonic clock; and the recipient. A
line is written soon after its mail arrives; all are written when the process has ended.
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
    b"DATA": b"354 send the mail\r\n",
    b"QUIT": b"221 bye\r\n",
}


class SmtpProtocol(asyncio.Protocol):
    """One SMTP connection.

    Parameters
    ----------
    on_mail
        Called with the recipient and the content of each mail, before the mail is acknowledged.
    """

    def __init__(self, on_mail: Callable[[bytes, bytes], None]) -> None:
        self._on_mail = on_mail
        self._recipient = b"?"
        self._buffer = bytearray()
        self._in_mail = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the greeting."""
        if isinstance(transport, asyncio.WriteTransport):
            self._transport = transport
            transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Process all commands and mails that have arrived completely."""
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
        self._reply(b"250 accepted\r\n")
        return True

    def _handle_command(self) -> bool:
        line, line_break, _ = self._buffer.partition(b"\r\n")
        if not line_break:
            return False
        del self._buffer[: len(line) + len(line_break)]
        if match := _RCPT_TO.match(line):
            self._recipient = match[1]
        verb = bytes(line[:4]).upper()
        self._reply(_REPLIES.get(verb, b"250 ok\r\n"))
        if verb == b"DATA":
            self._in_mail = True
            # An empty mail begins with its final dot, which is recognised only after a line break: add one.
            self._buffer[:0] = b"\r\n"
        if verb == b"QUIT" and self._transport:
            self._transport.close()
        return True

    def _reply(self, line: bytes) -> None:
        if self._transport:
            self._transport.write(line)


async def serve(port: int, record: Path) -> None:
    """Receive mails until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopped.set)
    private_files.write(record, "")
    with record.open("ab") as file:

        def record_mail(recipient: bytes, mail: bytes) -> None:
            match = _DELIVERY_ID.search(mail)
            file.write(b"%b %.6f %b\n" % (match[1] if match else b"0", time.monotonic(), recipient))

        server = await loop.create_server(lambda: SmtpProtocol(record_mail), LOOPBACK, port, backlog=512)
        async with server:
            while not stopped.is_set():
                file.flush()
                await asyncio.sleep(_FLUSH_INTERVAL.total_seconds())


def main(
    port: Annotated[int, typer.Option(help="Loopback port to listen on.")],
    record: Annotated[Path, typer.Option(help="File that gets one line for each mail; an existing file is replaced.")],
) -> None:
    """Receive mails and record their arrivals."""
    asyncio.run(serve(port, record))


if __name__ == "__main__":
    typer.run(main)
