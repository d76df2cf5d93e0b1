"""The push channel: messages to phones, through Firebase Cloud Messaging's HTTP v1 API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from yarl import URL

from etl.errors import ChannelRefused
from etl.json_text import DECODE_ERRORS
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
from etl.notify.channels.dispatcher import Dispatcher
from etl.notify.channels.http import DEFAULT_CONCURRENCY, TIMEOUT, HttpPoster, HttpResponse, open_session
from etl.notify.channels.oauth import AccessTokenCache, ServiceAccount, TokenRefused, TokenUnavailable

BASE_URL = "https://fcm.googleapis.com"
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
MAX_TTL = timedelta(weeks=4)

_OK = 200
_MAX_CODE_LENGTH = 100
_UNAUTHORISED, _FORBIDDEN = 401, 403


@dataclass(frozen=True)
class FcmConfig:
    """A Firebase project, and the service account that sends for it.

    Parameters
    ----------
    project_id
        Its id.
    account
        Service account that may send.
    base_url
        URL of the API.
    concurrency
        Concurrent requests.
    timeout
        Maximum wait for a response; after it, nobody knows whether a message was accepted.
    """

    project_id: str
    account: ServiceAccount
    base_url: str = BASE_URL
    concurrency: int = DEFAULT_CONCURRENCY
    timeout: timedelta = TIMEOUT

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> FcmConfig:
        """Read an Airflow connection of type `google_cloud_platform`: its `keyfile_dict`, optional `project` and host.

        Raises
        ------
        ChannelRefused
            If it holds no key of a service account.
        """
        del port, login, password  # This type of connection does not use them.
        keyfile = extra.get("keyfile_dict") or {}
        try:
            if isinstance(keyfile, str):
                keyfile = msgspec.json.decode(keyfile)
            key = load_pem_private_key(keyfile["private_key"].encode(), None)
            email, token_url = str(keyfile["client_email"]), str(keyfile.get("token_uri") or TOKEN_URL)
            project = str(extra.get("project") or keyfile["project_id"])
        except (*DECODE_ERRORS, AttributeError, KeyError, TypeError, ValueError):
            raise ChannelRefused(
                "push", host or BASE_URL, "`keyfile_dict` is not the key of a service account"
            ) from None
        if not isinstance(key, RSAPrivateKey):
            raise ChannelRefused("push", host or BASE_URL, "the key in `keyfile_dict` is not an RSA key")
        return cls(project, ServiceAccount(email, key, token_url), (host or BASE_URL).rstrip("/"))


class _ErrorDetail(msgspec.Struct, rename="camel"):
    error_code: str = ""
    field_violations: list[dict[str, Any]] = []


class _ErrorBody(msgspec.Struct):
    status: str = ""
    message: str = ""
    details: list[_ErrorDetail] = []


class _ErrorResponse(msgspec.Struct):
    error: _ErrorBody = msgspec.field(default_factory=_ErrorBody)


@dataclass
class _OpenClient:
    poster: HttpPoster
    tokens: AccessTokenCache
    exit_stack: AsyncExitStack = field(repr=False)


class FcmSender:
    """Sends messages through one Firebase project; see `Sender`. An address is a registration token.

    Refused credentials (401, 403) defer the messages: none was delivered, no token is at fault, and an operator can
    mend them.

    Parameters
    ----------
    config
        The project, and how.
    clock
        Monotonic, in seconds.
    """

    def __init__(self, config: FcmConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._dispatcher = Dispatcher(concurrency=config.concurrency, clock=clock)
        self._url = URL(f"{config.base_url}/v1/projects/{config.project_id}/messages:send")
        self._opened: _OpenClient | None = None

    @property
    def host(self) -> str:
        """Server and project: quotas are per project."""
        return f"{self._url.host}/{self._config.project_id}"

    async def __aenter__(self) -> Self:
        """Request an access token, so that a wrong account fails at the start.

        Raises
        ------
        ChannelRefused
            If the account gets none, permanently; a token server that is unavailable now is no error yet.
        """
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(
                open_session(concurrency=self._config.concurrency, timeout=self._config.timeout)
            )
            tokens = AccessTokenCache(self._config.account, session)
            try:
                await tokens.get()
            except TokenRefused as error:
                raise ChannelRefused("push", self.host, str(error)) from None
            except TokenUnavailable:
                pass
            # The messages of one project share a server: a silent one may be the fault of its message.
            poster = HttpPoster(session, scope=Scope.SERVER, silence=Signal.FAULTY)
            self._opened = _OpenClient(poster, tokens, stack.pop_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        opened, self._opened = self._opened, None
        if opened:
            await opened.exit_stack.aclose()

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Send messages, and return their results, in their order."""
        project = self._config.project_id.lower()
        return await self._dispatcher.send(messages, self._send, find_destination=lambda _: project)

    async def _send(self, message: Message) -> SendStatus:
        if self._opened is None:
            raise RuntimeError("the sender is not open; use it in `async with`")
        try:
            body = msgspec.json.encode({"message": build_message(message, now=datetime.now(UTC))})
        except MessageUnsendable as error:
            return error.verdict
        try:
            response = await self._post(self._opened, body)
        except TokenUnavailable as error:
            return SendStatus(
                SendOutcome.DEFERRED, type(error).__name__, str(error), scope=Scope.SERVER, signal=Signal.FAULTY
            )
        return response if isinstance(response, SendStatus) else _to_verdict(response, message.address)

    async def _post(self, opened: _OpenClient, body: bytes) -> HttpResponse | SendStatus:
        token = await opened.tokens.get()
        response = await self._post_once(opened, body, token)
        if isinstance(response, HttpResponse) and response.status == _UNAUTHORISED:
            opened.tokens.invalidate(token)
            token = await opened.tokens.get()
            response = await self._post_once(opened, body, token)
        return response

    async def _post_once(self, opened: _OpenClient, body: bytes, token: str) -> HttpResponse | SendStatus:
        return await opened.poster.post(
            self._url, body=body, headers=_build_headers(token), max_wait=self._config.timeout
        )


def build_message(message: Message, *, now: datetime) -> dict[str, Any]:
    """Return a message as the API expects it; if it is sent twice, the phone shows it once, by its tag.

    Raises
    ------
    MessageUnsendable
        If a part is missing.
    """
    parts = message.parts
    tag = f"delivery-{message.delivery_id}"
    try:
        notification = {"title": parts["title"], "body": parts["body"]}
    except KeyError as error:
        raise MessageUnsendable("PartMissing", f"its template renders no {error}") from None
    android: dict[str, Any] = {"notification": {"tag": tag}}
    apple = {"apns-collapse-id": tag}
    browser: dict[str, Any] = {"notification": {"tag": tag}}
    if parts.get("url", "").startswith("https://"):
        browser["fcm_options"] = {"link": parts["url"]}
    if message.expires_at is not None:
        ttl = min(max(message.expires_at - now, timedelta()), MAX_TTL)
        seconds = int(ttl.total_seconds())
        # A message that expires must wake the phone.
        android |= {"ttl": f"{seconds}s", "priority": "HIGH"}
        apple |= {"apns-expiration": str(int((now + ttl).timestamp())), "apns-priority": "10"}
        browser["headers"] = {"TTL": str(seconds), "Urgency": "high"}
    return {
        "token": message.address,
        "notification": notification,
        "data": {"url": parts.get("url", ""), "tag": tag},
        "android": android,
        "apns": {"headers": apple},
        "webpush": browser,
    }


def _build_headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json; charset=utf-8"}


def _to_verdict(response: HttpResponse, token: str) -> SendStatus:
    if response.status == _OK:
        return SendStatus(SendOutcome.SENT)
    try:
        error = msgspec.json.decode(response.content, type=_ErrorResponse).error
    except DECODE_ERRORS:
        error = _ErrorBody()
    code = next((detail.error_code for detail in error.details if detail.error_code), "") or error.status
    # A token of another project is the fault of the token. After a 401 the access token was renewed once.
    is_refused = response.status in (_UNAUTHORISED, _FORBIDDEN) and code != "SENDER_ID_MISMATCH"
    return SendStatus(
        SendOutcome.DEFERRED if is_refused else SendOutcome.FAILED,
        code[:_MAX_CODE_LENGTH] or f"HTTP {response.status}",
        redact_error(error.message, address=token),
        code == "UNREGISTERED" or (code == "INVALID_ARGUMENT" and _is_token_error(error)),
        Scope.SERVER if is_refused else Scope.RECIPIENT,
    )


def _is_token_error(error: _ErrorBody) -> bool:
    """Return whether the invalid argument is the registration token; often, only the error message says so."""
    fields = {violation.get("field") for detail in error.details for violation in detail.field_violations}
    return "message.token" in fields or "registration token" in error.message
