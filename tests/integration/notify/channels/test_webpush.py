"""Web Push through a stand-in for a push service, whose browser decrypts the messages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from etl.errors import ChannelRefused
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult
from etl.notify.channels.dispatcher import NOT_TRIED
from etl.notify.channels.webpush import MAX_PAYLOAD_BYTES, WebPushConfig, WebPushSender
from tests.integration.notify.channels.push_service import VAPID_KEY, PushService, to_base64url

PARTS = {"title": "Low balance", "body": "12 € left", "url": "https://bank.example/accounts/1"}
SUBJECT = "mailto:push@bank.example"
SENT = (SendOutcome.SENT, "", False)


def send_messages(
    service: PushService,
    count: int = 1,
    *,
    pages: int = 1,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    timeout: timedelta = timedelta(seconds=5),
    concurrency: int = 8,
    **changes: Any,
) -> list[SendResult]:
    async def send() -> list[SendResult]:
        config = WebPushConfig(VAPID_KEY, SUBJECT, concurrency=concurrency, timeout=timeout, allow_any_endpoint=True)
        async with service, WebPushSender(config) as channel:
            subscription = json.loads(service.subscription())
            change(subscription)
            fields = {"address": json.dumps(subscription), "parts": PARTS} | changes
            return [
                result
                for page in range(pages)
                for result in await channel.send([Message(page * count + place, **fields) for place in range(count)])
            ]

    return asyncio.run(send())


def outcomes(results: Sequence[SendResult]) -> list[tuple[SendOutcome, str, bool]]:
    return [(result.outcome, result.error_class, result.is_address_invalid) for result in results]


def test_a_browser_decrypts_what_was_sent() -> None:
    service = PushService()
    assert outcomes(send_messages(service)) == [SENT]
    (push,) = service.received
    assert push.text == PARTS | {"tag": "delivery-0"}
    assert {name: push.headers[name] for name in ("Content-Encoding", "TTL", "Urgency", "Topic")} == {
        "Content-Encoding": "aes128gcm",
        "TTL": str(4 * 7 * 86400),
        "Urgency": "normal",
        "Topic": "delivery-0",
    }


@pytest.mark.parametrize(("seconds_left", "shortest", "longest"), [(900, 880, 900), (-5, 0, 0)])
def test_message_ttl_ends_at_its_expiry(seconds_left: int, shortest: int, longest: int) -> None:
    service = PushService()
    send_messages(service, expires_at=datetime.now(UTC) + timedelta(seconds=seconds_left))
    (push,) = service.received
    assert shortest <= int(push.headers["TTL"]) <= longest
    assert push.headers["Urgency"] == "high"


def test_one_signature_names_the_service_and_the_sender() -> None:
    service = PushService()
    send_messages(service, 5)
    (authorization,) = {push.headers["Authorization"] for push in service.received}
    token = authorization.removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(token, VAPID_KEY.public_key(), ["ES256"], audience=service.url)
    assert claims["sub"] == SUBJECT
    assert claims["exp"] - datetime.now(UTC).timestamp() <= 86400


@pytest.mark.parametrize("status", [404, 410])
def test_ended_subscription_marks_its_address_invalid(status: int) -> None:
    assert outcomes(send_messages(PushService([web.Response(status=status)]))) == [
        (SendOutcome.FAILED, str(status), True)
    ]


@pytest.mark.parametrize(
    ("status", "error_class"), [(400, "400"), (401, "401"), (403, "403"), (413, "PayloadTooLarge"), (302, "302")]
)
def test_refusal_for_another_reason_keeps_the_address(status: int, error_class: str) -> None:
    results = send_messages(PushService([web.Response(status=status, headers={"Location": "/push/b2"})]), pages=2)
    assert outcomes(results) == [(SendOutcome.FAILED, error_class, False), SENT]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_service_defers_the_message(status: int) -> None:
    assert outcomes(send_messages(PushService([web.Response(status=status)]), pages=2)) == [
        (SendOutcome.DEFERRED, str(status), False),
        SENT,
    ]


def test_a_long_retry_after_defers_later_messages_to_its_service_without_requests() -> None:
    service = PushService([web.Response(status=429, headers={"Retry-After": "60"})])
    results = send_messages(service, pages=2)
    assert [result.error_class for result in results] == ["429", NOT_TRIED]
    assert [result.scope for result in results] == [Scope.DESTINATION] * 2
    assert results[0].retry_after == timedelta(seconds=60)
    assert results[0].destination == "127.0.0.1"
    assert service.attempts == 1


def test_unanswered_message_is_unknown() -> None:
    assert outcomes(send_messages(PushService([None]))) == [(SendOutcome.UNKNOWN, "ServerDisconnectedError", False)]


def test_concurrent_requests_are_bounded_and_results_keep_their_order() -> None:
    service = PushService()
    results = send_messages(service, 40, concurrency=4)
    assert [result.delivery_id for result in results] == list(range(40))
    assert service.max_in_flight <= 4


def test_a_message_that_is_too_large_is_not_sent() -> None:
    service = PushService()
    assert outcomes(send_messages(service, parts=PARTS | {"body": "x" * 4000})) == [
        (SendOutcome.FAILED, "PayloadTooLarge", False)
    ]
    assert service.attempts == 0
    empty = len(json.dumps(PARTS | {"body": "", "tag": "delivery-0"}, separators=(",", ":")))
    assert outcomes(send_messages(PushService(), parts=PARTS | {"body": "x" * (MAX_PAYLOAD_BYTES - empty)})) == [SENT]


@pytest.mark.parametrize("address", ["", "{", "[]", '{"endpoint": 1}', '{"endpoint": "https://a.example"}'])
def test_malformed_subscription_marks_its_address_invalid(address: str) -> None:
    assert outcomes(send_messages(PushService(), address=address)) == [
        (SendOutcome.FAILED, "SubscriptionMalformed", True)
    ]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"p256dh": "AAAA", "auth": "AAAA"},
        {"p256dh": to_base64url(b"\x04" + b"\x01" * 64), "auth": to_base64url(b"x" * 16)},
        {"p256dh": "é", "auth": "é"},
        {"p256dh": "", "auth": ""},
    ],
)
def test_subscription_with_invalid_keys_marks_its_address_invalid(keys: dict[str, str]) -> None:
    results = send_messages(PushService(), change=lambda subscription: subscription.update(keys=keys))
    assert outcomes(results) == [(SendOutcome.FAILED, "SubscriptionMalformed", True)]


def test_message_without_a_part_fails() -> None:
    assert outcomes(send_messages(PushService(), parts={"title": "no body"})) == [
        (SendOutcome.FAILED, "PartMissing", False)
    ]


def send_to_endpoint(endpoint: str) -> SendResult:
    async def send() -> SendResult:
        async with PushService() as service, WebPushSender(WebPushConfig(VAPID_KEY, SUBJECT)) as channel:
            subscription = json.loads(service.subscription()) | {"endpoint": endpoint}
            subscription["endpoint"] = endpoint.replace("{own}", service.url)
            (result,) = await channel.send([Message(1, json.dumps(subscription), PARTS)])
            assert service.attempts == 0
            return result

    return asyncio.run(send())


@pytest.mark.parametrize(
    "endpoint",
    [
        "{own}/push/b1",
        "http://push.example/b1",
        "https://127.0.0.1/b1",
        "https://[::1]/b1",
        "https://[::ffff:10.0.0.1]/b1",
        "https://10.1.2.3/b1",
        "https://169.254.169.254/latest",
        "https://user:secret@push.example/b1",
        "https:///b1",
        "file:///etc/passwd",
        "https://[",
        "https://push.example/" + "x" * 3000,
    ],
)
def test_non_public_endpoint_is_not_called_and_its_address_is_invalid(endpoint: str) -> None:
    assert outcomes([send_to_endpoint(endpoint)]) == [(SendOutcome.FAILED, "EndpointForbidden", True)]


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "0x7f.1", "127.1", "127.1."])
def test_host_with_an_internal_address_is_not_called(host: str) -> None:
    result = send_to_endpoint(f"https://{host}/b1")
    assert (result.outcome, result.error_class) == (SendOutcome.FAILED, "EndpointForbidden")


def config_from_connection(login: str, password: str) -> WebPushConfig:
    return WebPushConfig.from_connection(host="", port=None, login=login, password=password, extra={})


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def test_connection_accepts_the_key_raw_or_as_pem() -> None:
    raw = to_base64url(VAPID_KEY.private_numbers().private_value.to_bytes(32, "big"))
    for password in (raw, pem(VAPID_KEY)):
        config = config_from_connection(SUBJECT, password)
        assert config.key.private_numbers() == VAPID_KEY.private_numbers()
        assert "key=" not in repr(config)


def test_connection_without_key_or_subject_is_refused() -> None:
    other_curve, no_curve = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    for password in ("", "AAAA", "é", "-----BEGIN NOTHING", pem(other_curve), pem(no_curve)):
        with pytest.raises(ChannelRefused, match="P-256"):
            config_from_connection(SUBJECT, password)
    with pytest.raises(ChannelRefused, match="mailto"):
        config_from_connection("push@bank.example", pem(VAPID_KEY))
