"""A stand-in for Firebase Cloud Messaging and the token server of service accounts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dev.servers.ports import LOOPBACK
from etl.notify.channels.oauth import SCOPE
from tests.integration.notify.channels.push_faults import PushFaults

PROJECT, EMAIL = "sluice-tests", "sender@sluice-tests.iam.example"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass
class Firebase:
    """An async context manager.

    Parameters
    ----------
    replies
        Answers to the next messages, which are not recorded then; None breaks the connection.
    token_replies
        Answers to the next requests for an access token.
    lifetime
        Of an access token, in seconds.
    faults
        What it does wrong, by registration token.
    """

    replies: list[web.Response | None] = field(default_factory=list)
    token_replies: list[web.Response] = field(default_factory=list)
    lifetime: int = 3600
    silent: bool = False
    faults: PushFaults | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)
    granted: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    attempts: int = 0
    in_flight: int = 0
    max_in_flight: int = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/token", self._token)
        application.router.add_post(f"/v1/projects/{PROJECT}/messages:send", self._send)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        self.url = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def keyfile(self) -> str:
        return json.dumps(
            {"project_id": PROJECT, "client_email": EMAIL, "private_key": PEM, "token_uri": f"{self.url}/token"}
        )

    async def _token(self, request: web.Request) -> web.Response:
        if self.token_replies:
            return self.token_replies.pop(0)
        form = await request.post()
        claims = jwt.decode(
            str(form["assertion"]), KEY.public_key(), ["RS256"], audience=f"{self.url}/token", issuer=EMAIL
        )
        if claims["scope"] != SCOPE or claims["exp"] - claims["iat"] > 3600:
            return web.json_response({"error": "invalid_scope"}, status=400)
        self.granted.append(f"token-{len(self.granted)}")
        return web.json_response({"access_token": self.granted[-1], "expires_in": self.lifetime})

    async def _send(self, request: web.Request) -> web.Response:
        self.attempts += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            message = (await request.json())["message"]
            await asyncio.sleep(5 if self.silent else 0.01)
            fault = await self.faults.strike(message["token"]) if self.faults else None
        finally:
            self.in_flight -= 1
        if fault is not None:
            return fault
        token = request.headers["Authorization"].removeprefix("Bearer ")
        if token not in self.granted or token in self.revoked:
            return refusal(401, "UNAUTHENTICATED", "")
        if self.replies:
            reply = self.replies.pop(0)
            if reply is None and request.transport is not None:
                request.transport.abort()
            return reply or web.Response()
        self.messages.append(message)
        return web.json_response({"name": f"projects/{PROJECT}/messages/{len(self.messages)}"})


def refusal(
    status: int, name: str, code: str, *, text: str = "no", field_named: str = "", retry_after: str = ""
) -> web.Response:
    """Return an error as Firebase writes it."""
    google = "type.googleapis.com/google"
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": f"{google}.firebase.fcm.v1.FcmError", "errorCode": code})
    if field_named:
        violation = {"field": field_named, "description": "wrong"}
        details.append({"@type": f"{google}.rpc.BadRequest", "fieldViolations": [violation]})
    body = {"error": {"code": status, "status": name, "message": text, "details": details}}
    return web.json_response(body, status=status, headers={"Retry-After": retry_after} if retry_after else None)
