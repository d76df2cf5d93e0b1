"""A bank that answers the requests of each access token from a script, to reproduce rare answers."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Answer:
    """An HTTP response.

    Parameters
    ----------
    body
        Its body.
    status
        Its HTTP status.
    headers
        Additional headers.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def refusal(error_type: str, error_code: str, status: int = 400, **headers: str) -> Answer:
    """Return an error in Plaid's shape."""
    body = json.dumps({"error_type": error_type, "error_code": error_code, "error_message": "no"}).encode()
    return Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class ScriptedBank:
    """A server on a loopback port; the last answer of a script is repeated."""

    def __init__(self) -> None:
        self.requests: dict[str, list[dict[str, object]]] = defaultdict(list)
        self.cookies: list[str] = []
        self._scripts: dict[str, list[Answer]] = {}
        bank = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bank.cookies += self.headers.get_all("Cookie", [])
                answer = bank.answer(request)
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def script(self, token: str, *answers: Answer | bytes) -> None:
        """Set the answers to an access token, in order."""
        self._scripts[token] = [Answer(answer) if isinstance(answer, bytes) else answer for answer in answers]

    def answer(self, request: dict[str, object]) -> Answer:
        """Return the next answer of a token's script, and record the request."""
        token = str(request.pop("access_token", None) or request.pop("public_token"))
        self.requests[token].append(request)
        script = self._scripts[token]
        return script.pop(0) if len(script) > 1 else script[0]

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
