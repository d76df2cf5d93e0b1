"""Answers that are none: silence, nonsense, half a body, a connection cut."""

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from dev.bank import connections

_PAGE = "<!doctype html><title>{0}</title><h1>{0}</h1>"


def nonsense() -> Response:
    """Return a page for people, as a proxy sends it, with the status of success."""
    return HTMLResponse(_PAGE.format("We will be right back"))


def bad_gateway() -> Response:
    """Return the error page of a proxy."""
    return HTMLResponse(_PAGE.format("502 Bad Gateway"), status_code=502)


class Silence(Response):
    """Nothing, for as long as the client waits."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Wait until the client leaves."""
        await _gone(receive)


class Reset(Response):
    """Nothing, and the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI has it
        """Cut the connection."""
        connections.reset(scope)
        await _gone(receive)


class Half(Response):
    """The first half of what `whole` would have been; then the connection is closed."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, status_code=whole.status_code, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announce all, send half."""
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        connections.close(scope)
        await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
