"""Web Push through a push service whose browser decrypts what arrives."""

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
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.channels.webpush import MAX_PAYLOAD_BYTES, WebPushConfig, WebPushSender
from tests.integration.notify.channels.push_service import VAPID_KEY, PushService, to_base64url

PARTS = {"title": "Low balance", "body": "12 € left", "url": "https://bank.example/accounts/1"}
SUBJECT = "mailto:push@bank.example"
SENT = (SendOutcome.SENT, "", False)


def sent(
    service: PushService,
    count: int = 1,
    *,
    pages: int = 1,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    timeout: timedelta = timedelta(seconds=5),
    lanes: int = 8,
    **changes: Any,
) -> list[SendResult]:
    async def send() -> list[SendResult]:
        sender = WebPushConfig(VAPID_KEY, SUBJECT, concurrency=lanes, timeout=timeout, allow_any_endpoint=True)
        async with service, WebPushSender(sender) as channel:
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
    assert outcomes(sent(service)) == [SENT]
    (found,) = service.received
    assert found.text == PARTS | {"tag": "delivery-0"}
    assert {name: found.headers[name] for name in ("Content-Encoding", "TTL", "Urgency", "Topic")} == {
        "Content-Encoding": "aes128gcm",
        "TTL": str(4 * 7 * 86400),
        "Urgency": "normal",
        "Topic": "delivery-0",
    }


@pytest.mark.parametrize(("left", "shortest", "longest"), [(900, 880, 900), (-5, 0, 0)])
def test_a_message_lives_until_it_expires(left: int, shortest: int, longest: int) -> None:
    service = PushService()
    sent(service, expires_at=datetime.now(UTC) + timedelta(seconds=left))
    (found,) = service.received
    assert shortest <= int(found.headers["TTL"]) <= longest
    assert found.headers["Urgency"] == "high"


def test_a_signature_names_the_service_and_the_sender_and_is_made_once() -> None:
    service = PushService()
    sent(service, 5)
    (authorization,) = {found.headers["Authorization"] for found in service.received}
    token = authorization.removeprefix("vapid t=").partition(",")[0]
    claims = jwt.decode(token, VAPID_KEY.public_key(), ["ES256"], audience=service.url)
    assert claims["sub"] == SUBJECT
    assert claims["exp"] - datetime.now(UTC).timestamp() <= 86400


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_ended_is_pruned(status: int) -> None:
    assert outcomes(sent(PushService([web.Response(status=status)]))) == [(SendOutcome.FAILED, str(status), True)]


@pytest.mark.parametrize(
    ("status", "error_class"), [(400, "400"), (401, "401"), (403, "403"), (413, "PayloadTooLarge"), (302, "302")]
)
def test_a_refusal_that_is_not_of_the_subscription_prunes_nothing(status: int, error_class: str) -> None:
    results = sent(PushService([web.Response(status=status, headers={"Location": "/push/b2"})]), pages=2)
    assert outcomes(results) == [(SendOutcome.FAILED, error_class, False), SENT]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_is_busy_defers_and_is_left_alone_if_it_says_so(status: int) -> None:
    assert outcomes(sent(PushService([web.Response(status=status)]), pages=2)) == [
        (SendOutcome.DEFERRED, str(status), False),
        SENT,
    ]
    service = PushService([web.Response(status=status, headers={"Retry-After": "60"})])
    later = sent(service, pages=2)
    assert [result.error_class for result in later] == [str(status), "RetryAfter"]
    assert service.attempts == 1


def test_nobody_knows_about_a_message_that_was_sent_and_not_answered() -> None:
    assert outcomes(sent(PushService([None]))) == [(SendOutcome.UNKNOWN, "ServerDisconnectedError", False)]


def test_requests_under_way_are_bounded_and_results_keep_their_order() -> None:
    service = PushService()
    results = sent(service, 40, concurrency=4)
    assert [result.delivery_id for result in results] == list(range(40))
    assert service.max_in_flight <= 4


def test_a_message_that_is_too_large_is_not_sent() -> None:
    service = PushService()
    assert outcomes(sent(service, parts=PARTS | {"body": "x" * 4000})) == [
        (SendOutcome.FAILED, "PayloadTooLarge", False)
    ]
    assert service.attempts == 0
    empty = len(json.dumps(PARTS | {"body": "", "tag": "delivery-0"}, separators=(",", ":")))
    assert outcomes(sent(PushService(), parts=PARTS | {"body": "x" * (MAX_PAYLOAD_BYTES - empty)})) == [SENT]


@pytest.mark.parametrize("address", ["", "{", "[]", '{"endpoint": 1}', '{"endpoint": "https://a.example"}'])
def test_what_is_no_subscription_is_pruned(address: str) -> None:
    assert outcomes(sent(PushService(), address=address)) == [(SendOutcome.FAILED, "SubscriptionMalformed", True)]


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
def test_a_subscription_whose_keys_are_none_is_pruned(keys: dict[str, str]) -> None:
    results = sent(PushService(), change=lambda subscription: subscription.update(keys=keys))
    assert outcomes(results) == [(SendOutcome.FAILED, "SubscriptionMalformed", True)]


def test_one_message_sinks_no_others() -> None:
    assert outcomes(sent(PushService(), parts={"title": "no body"})) == [(SendOutcome.FAILED, "PartMissing", False)]


def guarded(endpoint: str) -> SendResult:
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
def test_an_endpoint_that_is_not_public_is_not_asked_and_pruned(endpoint: str) -> None:
    assert outcomes([guarded(endpoint)]) == [(SendOutcome.FAILED, "EndpointForbidden", True)]


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "0x7f.1", "127.1", "127.1."])
def test_a_name_that_leads_inside_is_not_followed(host: str) -> None:
    result = guarded(f"https://{host}/b1")
    assert (result.outcome, result.error_class) == (SendOutcome.FAILED, "EndpointForbidden")


def of_connection(login: str, password: str) -> WebPushConfig:
    return WebPushConfig.from_connection(host="", port=None, login=login, password=password, extra={})


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def test_a_connection_holds_the_key_as_tools_print_it() -> None:
    raw = to_base64url(VAPID_KEY.private_numbers().private_value.to_bytes(32, "big"))
    for password in (raw, pem(VAPID_KEY)):
        sender = of_connection(SUBJECT, password)
        assert sender.key.private_numbers() == VAPID_KEY.private_numbers()
        assert "key=" not in repr(sender)


def test_a_connection_without_key_or_subject_says_so() -> None:
    other_curve, no_curve = ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)
    for password in ("", "AAAA", "é", "-----BEGIN NOTHING", pem(other_curve), pem(no_curve)):
        with pytest.raises(ChannelRefused, match="P-256"):
            of_connection(SUBJECT, password)
    with pytest.raises(ChannelRefused, match="mailto"):
        of_connection("push@bank.example", pem(VAPID_KEY))
