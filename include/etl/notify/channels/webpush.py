"""The desktop channel: messages to browsers, through Web Push (RFC 8030, 8291 and 8292)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
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
from etl.notify.channels.adaptive import Signal
from etl.notify.channels.channel import (
    Message,
    MessageUnsendable,
    Scope,
    SendOutcome,
    SendResult,
    SendStatus,
    redact_error,
)
from etl.notify.channels.destination import find_host
from etl.notify.channels.dispatcher import Dispatcher
from etl.notify.channels.http import (
    DEFAULT_CONCURRENCY,
    FIRST_TIMEOUT,
    TIMEOUT,
    HttpPoster,
    HttpResponse,
    open_session,
)
from etl.notify.channels.public_endpoint import EndpointForbidden, PublicResolver

MAX_TTL = timedelta(weeks=4)
MAX_PAYLOAD_BYTES = 3993
"""Bytes of a message that fit, encrypted, into the 4,096 that a push service must accept (RFC 8291, 4)."""

SIGNATURE_LIFETIME = timedelta(hours=12)
"""How long a signature is valid; services accept a day at most."""

_RENEWAL_INTERVAL = timedelta(hours=1)
_MAX_ORIGINS = 1000
_ACCEPTED = range(200, 300)
_GONE = {404, 410}
_UNAUTHORISED = {401, 403}
_ERROR_CLASSES = {413: "PayloadTooLarge"}


@dataclass(frozen=True)
class WebPushConfig:
    """The identity of the sender, and how messages are sent.

    Parameters
    ----------
    key
        VAPID key; browsers subscribed with its public half.
    subject
        Contact for push services: a `mailto:` or https URL.
    concurrency
        Concurrent requests.
    timeout
        Maximum wait for a response; after it, nobody knows whether a message was accepted.
    first_timeout
        The same for a service that has not responded yet; strangers name any number of them.
    allow_any_endpoint
        Whether endpoints may be private addresses, also without TLS; for tests only.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    concurrency: int = DEFAULT_CONCURRENCY
    timeout: timedelta = TIMEOUT
    first_timeout: timedelta = FIRST_TIMEOUT
    allow_any_endpoint: bool = False

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> WebPushConfig:
        """Read an Airflow connection: its login is the subject, its password the private key.

        Raises
        ------
        ChannelRefused
            If either is invalid.
        """
        del host, port, extra  # Each subscription names its own server.
        if not login.startswith(("mailto:", "https://")):
            raise ChannelRefused("desktop", "Web Push", "its login is not a `mailto:` or https URL")
        try:
            return cls(parse_private_key(password), login)
        except (ValueError, TypeError):
            raise ChannelRefused(
                "desktop", "Web Push", "its password is not a private key on the curve P-256"
            ) from None


class _Endpoint(msgspec.Struct):
    endpoint: str


class _Subscription(_Endpoint):
    keys: dict[str, str]


class WebPushSender:
    """Sends messages through the push services of browsers; see `Sender`. An address is a subscription as JSON.

    A service that refuses the signature (401, 403) fails the message, since the browser may have subscribed with
    another key; its scope is the whole service, so that a wave of them shows.

    Parameters
    ----------
    config
        The sender's identity, and how.
    clock
        Monotonic, in seconds.
    """

    def __init__(self, config: WebPushConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._dispatcher = Dispatcher(concurrency=config.concurrency, are_destinations_servers=True, clock=clock)
        self._vapid = VapidSigner(config.key, config.subject)
        self._opened: tuple[HttpPoster, AsyncExitStack] | None = None

    @property
    def host(self) -> str:
        """One name for all push services, since each subscription names its own."""
        return "web-push"

    async def __aenter__(self) -> Self:
        """Open a pool of connections."""
        async with AsyncExitStack() as stack:
            resolver = None if self._config.allow_any_endpoint else PublicResolver()
            session = await stack.enter_async_context(
                open_session(concurrency=self._config.concurrency, timeout=self._config.timeout, resolver=resolver)
            )
            poster = HttpPoster(session, scope=Scope.DESTINATION, silence=Signal.SILENT)
            self._opened = poster, stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened:
            await opened[1].aclose()

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Send messages, and return their results, in their order."""
        return await self._dispatcher.send(messages, self._send, find_destination=lambda each: find_host(each.address))

    async def _send(self, message: Message) -> SendStatus:
        if self._opened is None:
            raise RuntimeError("the sender is not open; use it in `async with`")
        try:
            url, body = self._encrypt(message)
            response = await self._opened[0].post(
                url, body=body, headers=self._build_headers(message, url), max_wait=self._find_timeout(message)
            )
        except MessageUnsendable as error:
            return error.verdict
        except EndpointForbidden as error:
            # The name may resolve to a public address later: the message fails, but its address stays valid.
            return SendStatus(SendOutcome.FAILED, "EndpointForbidden", str(error), signal=Signal.NOT_SENT)
        return response if isinstance(response, SendStatus) else _to_verdict(response, url)

    def _find_timeout(self, message: Message) -> timedelta:
        is_proven = self._dispatcher.destination(find_host(message.address)).is_proven
        return self._config.timeout if is_proven else self._config.first_timeout

    def _encrypt(self, message: Message) -> tuple[URL, bytes]:
        payload = build_payload(message)
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
            raise MessageUnsendable(
                "SubscriptionMalformed", "it is not a subscription", is_address_invalid=True
            ) from None
        try:
            encrypted = WebPusher(msgspec.to_builtins(subscription)).encode(payload)
        except (WebPushException, ValueError, IndexError, TypeError):
            raise MessageUnsendable("SubscriptionMalformed", "its keys are invalid", is_address_invalid=True) from None
        return url, bytes(encrypted["body"])

    def _build_headers(self, message: Message, url: URL) -> dict[str, str]:
        expires_at = message.expires_at
        ttl = MAX_TTL if expires_at is None else expires_at - datetime.now(UTC)
        seconds = int(min(max(ttl, timedelta()), MAX_TTL).total_seconds())
        return {
            "Authorization": self._vapid.authorization_header(url),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(seconds),
            "Urgency": "normal" if expires_at is None else "high",
            # If the same message is sent again before the browser is reached, it replaces the first.
            "Topic": f"delivery-{message.delivery_id}",
        }


@dataclass
class VapidSigner:
    """Signs requests (VAPID): once per push service and hour, not per message.

    Parameters
    ----------
    key
        The browsers that subscribed know its public half.
    subject
        Contact for the push service: a `mailto:` or https URL.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    _headers_by_origin: dict[URL, tuple[float, str]] = field(default_factory=dict, repr=False)

    def authorization_header(self, endpoint: URL) -> str:
        """Return the value of the header `Authorization` for an endpoint."""
        origin, now = endpoint.origin(), time.time()
        signed_at, header = self._headers_by_origin.get(origin, (0.0, ""))
        if now - signed_at >= _RENEWAL_INTERVAL.total_seconds():
            # Endpoints come from strangers, who may name any number of services.
            if len(self._headers_by_origin) >= _MAX_ORIGINS:
                self._headers_by_origin.clear()
            claims = {"aud": str(origin), "sub": self.subject, "exp": int(now + SIGNATURE_LIFETIME.total_seconds())}
            header = str(Vapid02(self.key).sign(claims)["Authorization"])
            self._headers_by_origin[origin] = now, header
        return header


def build_payload(message: Message) -> bytes:
    """Return what a browser's service worker gets, before it is encrypted for its subscription.

    Raises
    ------
    MessageUnsendable
        If a part is missing, or it is too large.
    """
    parts = message.parts
    try:
        payload = msgspec.json.encode(
            {
                "title": parts["title"],
                "body": parts["body"],
                "url": parts.get("url", ""),
                "tag": f"delivery-{message.delivery_id}",
            }
        )
    except KeyError as error:
        raise MessageUnsendable("PartMissing", f"its template renders no {error}") from None
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageUnsendable("PayloadTooLarge", f"it has {len(payload)} bytes; the maximum is {MAX_PAYLOAD_BYTES}")
    return payload


def parse_private_key(text: str) -> EllipticCurvePrivateKey:
    """Parse a private key: PEM, or the 32 bytes in base 64 that Web Push tools print.

    Raises
    ------
    ValueError
        If it is no private key on the curve P-256.
    """
    key = load_pem_private_key(text.encode(), None) if "-----BEGIN" in text else Vapid02.from_string(text).private_key
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no private key on the curve P-256")  # noqa: TRY004 - its value is wrong, not its type
    return key


def _to_verdict(response: HttpResponse, url: URL) -> SendStatus:
    if response.status in _ACCEPTED:
        return SendStatus(SendOutcome.SENT)
    return SendStatus(
        SendOutcome.FAILED,
        _ERROR_CLASSES.get(response.status, str(response.status)),
        redact_error(response.text, address=url.path),
        response.status in _GONE,
        Scope.DESTINATION if response.status in _UNAUTHORISED else Scope.RECIPIENT,
    )
