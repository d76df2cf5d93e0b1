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
from etl.json_text import DECODE_ERRORS
from etl.notify.channels import public_endpoint
from etl.notify.channels.channel import (
    Message,
    MessageUnsendable,
    SendOutcome,
    SendResult,
    SendVerdict,
    redact_error,
    send_concurrently,
)
from etl.notify.channels.http import DEFAULT_CONCURRENCY, TIMEOUT, HttpPoster, HttpResponse, open_session
from etl.notify.channels.public_endpoint import EndpointForbidden, PublicResolver

SIGNATURE_LIFETIME = timedelta(hours=12)
"""How long a signature is good for; services take a day at most."""

_RENEWAL_INTERVAL = timedelta(hours=1)
_MAX_ORIGINS = 1000


def parse_private_key(text: str) -> EllipticCurvePrivateKey:
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
class VapidSigner:
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
    _headers_by_origin: dict[URL, tuple[float, str]] = field(default_factory=dict, repr=False)

    def authorization_header(self, endpoint: URL) -> str:
        """Return the header `Authorization` for an endpoint."""
        origin, now = endpoint.origin(), time.time()
        signed_at, header = self._headers_by_origin.get(origin, (0.0, ""))
        if now - signed_at >= _RENEWAL_INTERVAL.total_seconds():
            # Endpoints come from strangers, who may name as many services as they like.
            if len(self._headers_by_origin) >= _MAX_ORIGINS:
                self._headers_by_origin.clear()
            claims = {"aud": str(origin), "sub": self.subject, "exp": int(now + SIGNATURE_LIFETIME.total_seconds())}
            header = str(Vapid02(self.key).sign(claims)["Authorization"])
            self._headers_by_origin[origin] = now, header
        return header


MAX_TTL = timedelta(weeks=4)
MAX_PAYLOAD_BYTES = 3993
"""Bytes of a message that fit, encrypted, into the 4,096 that a push service must take (RFC 8291, 4)."""

_ACCEPTED = range(200, 300)
_GONE = {404, 410}
_ERROR_CLASSES = {413: "PayloadTooLarge"}


@dataclass(frozen=True)
class WebPushConfig:
    """Who sends to browsers.

    Parameters
    ----------
    key
        VAPID key; its public half is what browsers subscribed with.
    subject
        Whom a push service writes to when something is wrong: a `mailto:` or https URL.
    concurrency
        Requests at the same time.
    timeout
        Longest wait for an answer; after it, nobody knows whether a message was taken.
    allow_any_endpoint
        Whether endpoints may be anywhere, without TLS too; for tests alone.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    concurrency: int = DEFAULT_CONCURRENCY
    timeout: timedelta = TIMEOUT
    allow_any_endpoint: bool = False

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> WebPushConfig:
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
            return cls(parse_private_key(password), login)
        except (ValueError, TypeError):
            raise ChannelRefused("desktop", "Web Push", "its password is no private key on the curve P-256") from None


class _Subscription(msgspec.Struct):
    endpoint: str
    keys: dict[str, str]


class WebPushSender:
    """Hands messages to the push services of browsers; see `Channel`. An address is a subscription as JSON.

    Parameters
    ----------
    config
        Who sends.
    """

    def __init__(self, config: WebPushConfig) -> None:
        self._config = config
        self._vapid = VapidSigner(config.key, config.subject)
        self._opened: tuple[HttpPoster, AsyncExitStack] | None = None

    @property
    def host(self) -> str:
        """All push services together: which one it is, each subscription says."""
        return "web-push"

    async def __aenter__(self) -> Self:
        """Open a pool of connections."""
        async with AsyncExitStack() as stack:
            resolver = None if self._config.allow_any_endpoint else PublicResolver()
            session = await stack.enter_async_context(
                open_session(concurrency=self._config.concurrency, timeout=self._config.timeout, resolver=resolver)
            )
            self._opened = HttpPoster(session), stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened:
            await opened[1].aclose()

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Hand messages over, and return what came of each, in their order."""
        return await send_concurrently(messages, self._send, concurrency=self._config.concurrency)

    async def _send(self, message: Message) -> SendResult:
        if self._opened is None:
            raise RuntimeError("the channel is not open; use it in `async with`")
        try:
            url, body = self._encrypt(message)
            answer = await self._opened[0].post(url, body=body, headers=self._build_headers(message, url))
        except MessageUnsendable as error:
            return error.verdict.to_result(message)
        except EndpointForbidden as error:
            # A name may mean another address tomorrow: it is refused, but not forgotten.
            return SendVerdict(SendOutcome.FAILED, "EndpointForbidden", str(error)).to_result(message)
        return (answer if isinstance(answer, SendVerdict) else _to_verdict(answer, url)).to_result(message)

    def _encrypt(self, message: Message) -> tuple[URL, bytes]:
        text = build_payload(message)
        try:
            subscription = msgspec.json.decode(message.address, type=_Subscription)
            url = (
                URL(subscription.endpoint)
                if self._config.allow_any_endpoint
                else public_endpoint.parse(subscription.endpoint)
            )
        except EndpointForbidden as error:
            raise MessageUnsendable("EndpointForbidden", str(error), is_address_invalid=True) from None
        except (*DECODE_ERRORS, ValueError):
            raise MessageUnsendable("SubscriptionMalformed", "it is no subscription", is_address_invalid=True) from None
        try:
            sealed = WebPusher(msgspec.to_builtins(subscription)).encode(text)
        except (WebPushException, ValueError, IndexError, TypeError):
            raise MessageUnsendable("SubscriptionMalformed", "its keys are none", is_address_invalid=True) from None
        return url, bytes(sealed["body"])

    def _build_headers(self, message: Message, url: URL) -> dict[str, str]:
        expires_at = message.expires_at
        left = MAX_TTL if expires_at is None else expires_at - datetime.now(UTC)
        seconds = int(min(max(left, timedelta()), MAX_TTL).total_seconds())
        return {
            "Authorization": self._vapid.authorization_header(url),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(seconds),
            "Urgency": "normal" if expires_at is None else "high",
            # A message that is sent again replaces itself, if the browser was not reached in between.
            "Topic": f"delivery-{message.delivery_id}",
        }


def build_payload(message: Message) -> bytes:
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
        raise MessageUnsendable("PartMissing", f"its template renders no {error}") from None
    if len(text) > MAX_PAYLOAD_BYTES:
        raise MessageUnsendable("PayloadTooLarge", f"it has {len(text)} bytes; {MAX_PAYLOAD_BYTES} fit")
    return text


def _to_verdict(response: HttpResponse, url: URL) -> SendVerdict:
    if response.status in _ACCEPTED:
        return SendVerdict(SendOutcome.SENT)
    found = redact_error(response.content.decode(errors="replace"), address=url.path)
    return SendVerdict(
        SendOutcome.FAILED, _ERROR_CLASSES.get(response.status, str(response.status)), found, response.status in _GONE
    )
