"""Access to the connection of a request, which ASGI does not expose and some faults need."""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    Protocol = H11Protocol
else:
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as Protocol

_TRANSPORT_KEY = "bank.transport"
_LINGER_ZERO = struct.pack("ii", 1, 0)


class ConnectionUnavailable(RuntimeError):
    """The server does not expose its connections."""

    def __init__(self) -> None:
        super().__init__("this fault needs the connection; serve the bank with `python -m dev.bank`")


class ConnectionExposingProtocol(Protocol):
    """Uvicorn's protocol, which also gives the application the connection of each request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make the connection available to the application."""
        super().connection_made(transport)
        self.app = _with_transport(transport, cast("ASGIApp", self.app))


def reset(scope: Scope) -> None:
    """Reset the connection, so that the client's next read fails."""
    transport = _transport(scope)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


def close(scope: Scope) -> None:
    """Close the connection after everything written so far is sent."""
    _transport(scope).close()


def _with_transport(transport: asyncio.Transport, app: ASGIApp) -> ASGIApp:
    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, _TRANSPORT_KEY: transport}, receive, send)

    return wrapper


def _transport(scope: Scope) -> asyncio.Transport:
    transport: asyncio.Transport | None = scope.get(_TRANSPORT_KEY)
    if transport is None:
        raise ConnectionUnavailable
    return transport
