"""Messages to browsers on desktops, through Web Push (RFC 8030, 8291 and 8292)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from py_vapid import Vapid02
from pywebpush import WebPusher, WebPushException
from yarl import URL

from etl.errors import ChannelRefused
from etl.json_text import UNDECODABLE
from etl.notify.channels import public_endpoint
from etl.notify.channels.channel import Message, Outcome, Result, Unsendable, Verdict, legible, side_by_side
from etl.notify.channels.http import LANES, TIMEOUT, Answer, Poster, open_session
from etl.notify.channels.public_endpoint import EndpointForbidden, PublicResolver

LIFETIME = timedelta(hours=12)
"""How long a signature is good for; services take a day at most."""

_RENEWED = timedelta(hours=1)
_MOST_ORIGINS = 1000


def read_key(text: str) -> EllipticCurvePrivateKey:
    """Read a private key: PEM, or the 32 bytes in base 64 that tools for Web Push print.

    Raises
    ------
    ValueError
        If it is none on the curve P-256.
    """
    key = load_pem_private_key(text.encode(), None) if "-----BEGIN" in text else Vapid02.from_string(text).private_key
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no private key on the curve P-256")  # noqa: TRY004 - it is a text, with a wrong value
    return key


@dataclass
class Vapid:
    """Signs once for each push service and hour, not for each message.

    Parameters
    ----------
    key
        Its public half is known to the browsers that subscribed.
    subject
        Whom a push service writes to when something is wrong: a `mailto:` or https URL.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    _signed: dict[URL, tuple[float, str]] = field(default_factory=dict, repr=False)

    def authorization(self, endpoint: URL) -> str:
        """Return the header `Authorization` for an endpoint."""
        origin, now = endpoint.origin(), time.time()
        signed_at, header = self._signed.get(origin, (0.0, ""))
        if now - signed_at >= _RENEWED.total_seconds():
            # Endpoints come from strangers, who may name as many services as they like.
            if len(self._signed) >= _MOST_ORIGINS:
                self._signed.clear()
            claims = {"aud": str(origin), "sub": self.subject, "exp": int(now + LIFETIME.total_seconds())}
            header = str(Vapid02(self.key).sign(claims)["Authorization"])
            self._signed[origin] = now, header
        return header


LONGEST_TTL = timedelta(weeks=4)
LARGEST_TEXT = 3993
"""Bytes of a message that fit, encrypted, into the 4,096 that a push service must take (RFC 8291, 4)."""

_TAKEN = range(200, 300)
_GONE = {404, 410}
_CLASSES = {413: "PayloadTooLarge"}


@dataclass(frozen=True)
class WebPushSender:
    """Who sends to browsers.

    Parameters
    ----------
    key
        VAPID key; its public half is what browsers subscribed with.
    subject
        Whom a push service writes to when something is wrong: a `mailto:` or https URL.
    lanes
        Requests at the same time.
    timeout
        Longest wait for an answer; after it, nobody knows whether a message was taken.
    anywhere
        Whether endpoints may be anywhere, without TLS too; for tests alone.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    lanes: int = LANES
    timeout: timedelta = TIMEOUT
    anywhere: bool = False

    @classmethod
    def of_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> WebPushSender:
        """Read an Airflow connection: its login is the subject, its password the private key.

        Raises
        ------
        ChannelRefused
            If either is none.
        """
        del host, port, extra  # Each subscription names its own server.
        if not login.startswith(("mailto:", "https://")):
            raise ChannelRefused("desktop", "Web Push", "its login is no `mailto:` or https URL")
        try:
            return cls(read_key(password), login)
        except (ValueError, TypeError):
            raise ChannelRefused("desktop", "Web Push", "its password is no private key on the curve P-256") from None


class _Subscription(msgspec.Struct):
    endpoint: str
    keys: dict[str, str]


class DesktopChannel:
    """Hands messages to the push services of browsers; see `Channel`. An address is a subscription as JSON.

    Parameters
    ----------
    sender
        Who sends.
    """

    def __init__(self, sender: WebPushSender) -> None:
        self._sender = sender
        self._vapid = Vapid(sender.key, sender.subject)
        self._open: tuple[Poster, AsyncExitStack] | None = None

    @property
    def host(self) -> str:
        """All push services together: which one it is, each subscription says."""
        return "web-push"

    async def __aenter__(self) -> Self:
        """Open a pool of connections."""
        async with AsyncExitStack() as stack:
            resolver = None if self._sender.anywhere else PublicResolver()
            session = await stack.enter_async_context(
                open_session(lanes=self._sender.lanes, timeout=self._sender.timeout, resolver=resolver)
            )
            self._open = Poster(session), stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        opened, self._open = self._open, None
        if opened:
            await opened[1].aclose()

    async def send(self, messages: Sequence[Message]) -> list[Result]:
        """Hand messages over, and return what came of each, in their order."""
        return await side_by_side(messages, self._send, lanes=self._sender.lanes)

    async def _send(self, message: Message) -> Result:
        if self._open is None:
            raise RuntimeError("the channel is not open; use it in `async with`")
        try:
            url, body = self._sealed(message)
            answer = await self._open[0].post(url, body=body, headers=self._headers(message, url))
        except Unsendable as error:
            return error.verdict.of(message)
        except EndpointForbidden as error:
            # A name may mean another address tomorrow: it is refused, but not forgotten.
            return Verdict(Outcome.FAILED, "EndpointForbidden", str(error)).of(message)
        return (answer if isinstance(answer, Verdict) else _verdict(answer, url)).of(message)

    def _sealed(self, message: Message) -> tuple[URL, bytes]:
        text = payload(message)
        try:
            subscription = msgspec.json.decode(message.address, type=_Subscription)
            url = URL(subscription.endpoint) if self._sender.anywhere else public_endpoint.parse(subscription.endpoint)
        except EndpointForbidden as error:
            raise Unsendable("EndpointForbidden", str(error), address_ended=True) from None
        except (*UNDECODABLE, ValueError):
            raise Unsendable("SubscriptionMalformed", "it is no subscription", address_ended=True) from None
        try:
            sealed = WebPusher(msgspec.to_builtins(subscription)).encode(text)
        except (WebPushException, ValueError, IndexError, TypeError):
            raise Unsendable("SubscriptionMalformed", "its keys are none", address_ended=True) from None
        return url, bytes(sealed["body"])

    def _headers(self, message: Message, url: URL) -> dict[str, str]:
        expires_at = message.expires_at
        left = LONGEST_TTL if expires_at is None else expires_at - datetime.now(UTC)
        seconds = int(min(max(left, timedelta()), LONGEST_TTL).total_seconds())
        return {
            "Authorization": self._vapid.authorization(url),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(seconds),
            "Urgency": "normal" if expires_at is None else "high",
            # A message that is sent again replaces itself, if the browser was not reached in between.
            "Topic": f"delivery-{message.delivery_id}",
        }


def payload(message: Message) -> bytes:
    """Return what a browser's service worker is given, before it is encrypted for its subscription.

    Raises
    ------
    Unsendable
        If a part is missing, or it is too large.
    """
    parts = message.parts
    try:
        text = msgspec.json.encode(
            {
                "title": parts["title"],
                "body": parts["body"],
                "url": parts.get("url", ""),
                "tag": f"delivery-{message.delivery_id}",
            }
        )
    except KeyError as error:
        raise Unsendable("PartMissing", f"its template renders no {error}") from None
    if len(text) > LARGEST_TEXT:
        raise Unsendable("PayloadTooLarge", f"it has {len(text)} bytes; {LARGEST_TEXT} fit")
    return text


def _verdict(answer: Answer, url: URL) -> Verdict:
    if answer.status in _TAKEN:
        return Verdict(Outcome.SENT)
    found = legible(answer.content.decode(errors="replace"), without=url.path)
    return Verdict(Outcome.FAILED, _CLASSES.get(answer.status, str(answer.status)), found, answer.status in _GONE)
