"""Reads reports that a mail service posts as JSON, signed with a shared secret.

docs/bounces.md describes the format. There is no server for it yet.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

import msgspec

from etl.errors import PermanentError
from etl.notify.bounces.report import Report, classify, first_line
from etl.notify.bounces.store.bounces import BounceKind

MAX_BYTES = 1024 * 1024
MAX_EVENTS = 1_000
TOLERANCE = timedelta(minutes=5)
"""How far the time of a request may be from now; a recorded one cannot be sent again later."""


class WebhookRefused(PermanentError):
    """A request is not signed with one of the secrets, is too old, or cannot be read; its content is never shown."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"a webhook with bounces was refused: {detail}; nothing of it was recorded.")


class _Event(msgspec.Struct):
    type: Literal["bounce", "complaint"]
    recipient: str = ""
    status: str = ""
    diagnostic: str = ""
    message_id: str = ""
    return_path: str = ""


class _Document(msgspec.Struct):
    events: list[_Event]


def read_webhook(body: bytes, signature: str, *, secrets: Sequence[str], now: datetime) -> list[Report]:
    """Return the reports of a request.

    Parameters
    ----------
    body
        JSON, as it was received.
    signature
        Header `Sluice-Signature`: `t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>." and the body, in hex>`.
    secrets
        Any of them may have signed it.

    Raises
    ------
    WebhookRefused
        If it is too large or too old, its signature is wrong, or it is not of the documented form.
    """
    if len(body) > MAX_BYTES:
        raise WebhookRefused(f"it has more than {MAX_BYTES:,} bytes")
    _verify(body, signature, secrets=secrets, now=now)
    try:
        events = msgspec.json.decode(body, type=_Document).events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WebhookRefused(f"its JSON is not as documented ({type(error).__name__})") from None
    if len(events) > MAX_EVENTS:
        raise WebhookRefused(f"it has more than {MAX_EVENTS:,} events")
    return [_to_report(event) for event in events]


def sign(body: bytes, *, secret: str, at: datetime) -> str:
    """Return the header with which a service signs a request."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_digest(body, str(seconds), secret)}"


def _verify(body: bytes, signature: str, *, secrets: Sequence[str], now: datetime) -> None:
    fields = dict(item.strip().partition("=")[::2] for item in signature[:1_000].split(","))
    seconds, digest = fields.get("t", ""), fields.get("v1", "")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= len("99999999999")):
        raise WebhookRefused("its signature has no time")
    if not any(
        hmac.compare_digest(_digest(body, seconds, secret).encode(), digest.encode(errors="replace"))
        for secret in secrets
    ):
        raise WebhookRefused("its signature is wrong")
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        raise WebhookRefused(f"its time is more than {TOLERANCE.total_seconds() / 60:g} minutes from now")


def _digest(body: bytes, seconds: str, secret: str) -> str:
    return hmac.digest(secret.encode(), f"{seconds}.".encode() + body, sha256).hex()


def _to_report(event: _Event) -> Report:
    kind, status = (
        (BounceKind.COMPLAINT, "abuse") if event.type == "complaint" else classify(event.status, event.diagnostic)
    )
    recipients = (event.recipient,) if "@" in event.recipient and event.recipient.isprintable() else ()
    return Report(
        kind,
        status,
        first_line(event.diagnostic),
        recipients,
        (event.return_path,),
        (event.message_id,),
        is_authentic=True,
    )
