"""A webhook is believed if it is signed, recent, and as documented."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.notify.bounces.store.bounces import BounceKind
from etl.notify.bounces.webhook import MAX_EVENTS, TOLERANCE, WebhookRefused, read_webhook, sign

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
OLD, NEW = "old secret", "new secret"
BOUNCE = {
    "type": "bounce",
    "recipient": "joe@home.example",
    "status": "5.1.1",
    "diagnostic": "550 5.1.1 joe@home.example",
}
COMPLAINT = {"type": "complaint", "message_id": "<delivery.7@bank.example>", "further": ["ignored"]}


def body(*events: object) -> bytes:
    return json.dumps({"events": events}).encode()


def read(content: bytes, *, secret: str = NEW, **changes: Any) -> list[BounceKind]:
    values: dict[str, Any] = {
        "signature": sign(content, secret=secret, at=NOW),
        "secrets": [NEW, OLD],
        "now": NOW,
    } | changes
    return [report.kind for report in read_webhook(content, values.pop("signature"), **values)]


def test_signed_events_are_read_and_need_no_other_proof() -> None:
    content = body(BOUNCE, COMPLAINT)
    reports = read_webhook(content, sign(content, secret=OLD, at=NOW), secrets=[NEW, OLD], now=NOW)
    assert [(report.kind, report.status, report.detail) for report in reports] == [
        (BounceKind.HARD, "5.1.1", "550 5.1.1 …"),
        (BounceKind.COMPLAINT, "abuse", ""),
    ]
    assert all(report.is_authentic for report in reports)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"secret": "another"}, "its signature is wrong"),
        ({"secrets": []}, "its signature is wrong"),
        ({"signature": ""}, "its signature has no time"),
        ({"signature": "t=1,v1="}, "its signature is wrong"),
        ({"signature": "t=²,v1=ab"}, "its signature has no time"),
        ({"now": NOW + TOLERANCE + timedelta(seconds=1)}, "its time is more than 5 minutes from now"),
        ({"now": NOW - TOLERANCE - timedelta(seconds=1)}, "its time is more than 5 minutes from now"),
    ],
)
def test_what_is_not_signed_now_is_refused(changes: dict[str, Any], detail: str) -> None:
    with pytest.raises(WebhookRefused, match=detail):
        read(body(BOUNCE), **changes)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(WebhookRefused, match="its signature is wrong"):
        read(body(COMPLAINT), signature=sign(body(BOUNCE), secret=NEW, at=NOW))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"events": [{"type": "open"}]}', b"[" * 100_000, body(*[BOUNCE] * (MAX_EVENTS + 1)), b"\xff"],
)
def test_what_is_not_as_documented_is_refused_without_showing_it(content: bytes) -> None:
    with pytest.raises(WebhookRefused):
        read(content)


@given(content=st.binary(max_size=50), signature=st.text(max_size=50))
def test_nothing_but_a_refusal_comes_of_any_request(content: bytes, signature: str) -> None:
    with pytest.raises(WebhookRefused):
        read_webhook(content, signature, secrets=[NEW], now=NOW)
