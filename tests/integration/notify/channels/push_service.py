"""A stand-in for a push service, and for the browser that decrypts its messages."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Self

import http_ece
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from dev.servers.ports import LOOPBACK
from tests.integration.notify.channels.push_faults import PushFaults

VAPID_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class ReceivedPush:
    """A message, decrypted, the headers that it came with, and the browser that it is for."""

    text: dict[str, str]
    headers: dict[str, str]
    browser: str = ""


@dataclass
class PushService:
    """An async context manager.

    Parameters
    ----------
    replies
        Answers to the next messages, which are not recorded then; None breaks the connection.
    host
        Where it listens, such as 127.0.0.2: each address is a push service of its own.
    faults
        What it does wrong, by browser.
    """

    replies: list[web.Response | None] = field(default_factory=list)
    host: str = LOOPBACK
    faults: PushFaults | None = None
    received: list[ReceivedPush] = field(default_factory=list)
    attempts: int = 0
    in_flight: int = 0
    max_in_flight: int = 0

    async def __aenter__(self) -> Self:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._secret = os.urandom(16)
        application = web.Application()
        application.router.add_post("/push/{browser}", self._receive)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, 0).start()
        self.url = f"http://{self.host}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.faults:
            self.faults.stop()
        await self._runner.cleanup()

    def subscription(self, browser: str = "b1") -> str:
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": to_base64url(point), "auth": to_base64url(self._secret)}
        # Browsers add `expirationTime`.
        return json.dumps({"endpoint": f"{self.url}/push/{browser}", "expirationTime": None, "keys": keys})

    async def _receive(self, request: web.Request) -> web.Response:
        self.attempts += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        body = await request.read()
        await asyncio.sleep(0.01)
        fault = await self.faults.strike(request.match_info["browser"]) if self.faults else None
        self.in_flight -= 1
        if fault is not None:
            return fault
        if not self._is_signed(request.headers["Authorization"]):
            return web.Response(status=403, text="who are you?")
        if self.replies:
            reply = self.replies.pop(0)
            if reply is None and request.transport is not None:
                request.transport.abort()
            return reply or web.Response()
        plain = http_ece.decrypt(body, private_key=self._key, auth_secret=self._secret, version="aes128gcm")
        self.received.append(ReceivedPush(json.loads(plain), dict(request.headers), request.match_info["browser"]))
        return web.Response(status=201)

    def _is_signed(self, authorization: str) -> bool:
        parts: dict[str, Any] = dict(part.split("=", 1) for part in authorization.removeprefix("vapid ").split(","))
        point = VAPID_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return parts["k"] == to_base64url(point) and bool(Vapid02.verify(authorization))


def to_base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
