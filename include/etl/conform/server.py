"""An HTTP server of the kit's own, which may also end an answer in its middle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from etl.conform.calls import Call


@dataclass(frozen=True)
class Answer:
    """A response.

    Parameters
    ----------
    status, headers, body
        Its parts.
    is_cut
        Whether the connection ends in the middle of the body.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False


class Server:
    """A server on a loopback port.

    Parameters
    ----------
    respond
        Called with each request, in a thread of its own; what it returns is sent.
    """

    def __init__(self, respond: Callable[[Call], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                answer = respond(Call(self.command, self.path, headers, body))
                with suppress(ConnectionError):  # a step that was killed does not wait for its answer
                    self.send_answer(answer)

            def send_answer(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body[: len(answer.body) // 2] if answer.is_cut else answer.body)
                self.close_connection = answer.is_cut

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def origin(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
