"""`python -m benchmarks.support.canned_bank PORT LOGINS PAGES RECORDS LATENCY`: a bank of prepared answers.

It uses almost no processor time, so that its client is measured and not the bank: an answer is a copy of a prepared
page in which a placeholder is replaced by the login's number. All logins have the same number of pages and of records
per page, and transactions of their own. The bank serves only `/transactions/sync`, accepts as a token any login's
number in six digits, and has no rate limits.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

import msgspec

from benchmarks.support import plaid_pages
from dev.servers import http, ports
from dev.servers.ports import LOOPBACK

_LOGIN_PLACEHOLDER = b"@LOGIN"
_POLL = 0.1
_END = b"\r\n\r\n"
_HEALTH_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class BankDied(Exception):
    """A bank ended before it listened."""

    def __init__(self, port: int) -> None:
        super().__init__(f"the bank on port {port} ended; see its output above.")


@dataclass(frozen=True)
class Shape:
    """What a canned bank serves.

    Parameters
    ----------
    logins
        Number of logins; they are numbered from 0.
    pages
        Pages per login.
    records
        Records per page.
    latency
        Seconds by which an answer is delayed, as by the network to a provider.
    """

    logins: int
    pages: int
    records: int
    latency: float = 0.0

    @property
    def transactions(self) -> int:
        """Transactions of all logins."""
        return self.logins * self.pages * self.records


class _SyncRequest(msgspec.Struct):
    access_token: str
    cursor: str = ""


class _BankProtocol(asyncio.Protocol):
    """One connection, on which requests arrive one after the other."""

    def __init__(self, pages: list[bytes], latency: float) -> None:
        self._pages = pages
        self._latency = latency
        self._received = b""
        self._decoder = msgspec.json.Decoder(_SyncRequest)

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - a transport that can be written to
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END)
        if not end:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        if len(body) >= length:
            self._received = body[length:]
            answer = self._answer(body[:length]) if length else _HEALTH_RESPONSE
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)

    def _answer(self, body: bytes) -> bytes:
        request = self._decoder.decode(body)
        page = self._pages[int(request.cursor or 0)].replace(_LOGIN_PLACEHOLDER, request.access_token.encode())
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)


@contextmanager
def running(shape: Shape, *, port: int | None = None) -> Iterator[str]:
    """Run a canned bank in a separate process, and yield its URL."""
    port = port or next(each for each in ports.candidates() if ports.is_free(each))
    url = f"http://{LOOPBACK}:{port}"
    while not ports.is_free(port):
        time.sleep(_POLL)
    arguments = (port, shape.logins, shape.pages, shape.records, shape.latency)
    with Popen([sys.executable, "-m", "benchmarks.support.canned_bank", *map(str, arguments)]) as bank:
        try:
            while not http.is_ok(port, "/health"):
                time.sleep(_POLL)
                if bank.poll() is not None:
                    raise BankDied(port)
            yield url
        finally:
            bank.terminate()


def render(shape: Shape) -> list[bytes]:
    """Return the pages of a login, with a placeholder for its number."""
    pages = []
    for ordinal in range(shape.pages):
        records = plaid_pages.transactions(ordinal, records=shape.records, merchants=shape.records)
        for record in records:
            for name in ("transaction_id", "account_id"):
                record[name] = _LOGIN_PLACEHOLDER.decode() + str(record[name])[len(_LOGIN_PLACEHOLDER) :]
        has_more = ordinal + 1 < shape.pages
        page = {"added": records, "modified": [], "removed": [], "next_cursor": str(ordinal + 1), "has_more": has_more}
        pages.append(msgspec.json.encode(page))
    return pages


async def _serve(port: int, shape: Shape) -> None:
    pages = render(shape)
    server = await asyncio.get_running_loop().create_server(lambda: _BankProtocol(pages, shape.latency), LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    port, logins, pages, records = map(int, sys.argv[1:5])
    asyncio.run(_serve(port, Shape(logins, pages, records, float(sys.argv[5]))))
