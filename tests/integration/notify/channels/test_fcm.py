"""Push messages through a stand-in for Firebase that checks signatures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dev.servers.ports import candidates, is_free
from etl.errors import ChannelRefused
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult
from etl.notify.channels.dispatcher import NOT_TRIED
from etl.notify.channels.fcm import FcmConfig, FcmSender
from tests.integration.notify.channels.firebase import EMAIL, PROJECT, Firebase, refusal
from tests.integration.notify.channels.push_faults import PushFaults

PARTS = {"title": "Is this you?", "body": "A payment of 500 €", "url": "https://bank.example/alerts/1"}


def message(delivery_id: int = 1, **changes: Any) -> Message:
    return Message(delivery_id, **{"address": f"phone-{delivery_id}", "parts": PARTS} | changes)


def build_config(firebase: Firebase, **changes: Any) -> FcmConfig:
    extra = {"keyfile_dict": firebase.keyfile()}
    config = FcmConfig.from_connection(host=firebase.url, port=None, login="", password="", extra=extra)
    return replace(config, **{"timeout": timedelta(seconds=5)} | changes)


def send_pages(firebase: Firebase, *pages: Sequence[Message], **changes: Any) -> list[SendResult]:
    async def send() -> list[SendResult]:
        async with firebase, FcmSender(build_config(firebase, **changes)) as channel:
            return [result for page in pages for result in await channel.send(page)]

    return asyncio.run(send())


def outcomes(results: Sequence[SendResult]) -> list[tuple[SendOutcome, str, bool]]:
    return [(result.outcome, result.error_class, result.is_address_invalid) for result in results]


SENT = (SendOutcome.SENT, "", False)


def test_message_arrives_with_its_content_and_a_collapse_tag() -> None:
    firebase = Firebase()
    assert outcomes(send_pages(firebase, [message(7)])) == [SENT]
    assert firebase.messages == [
        {
            "token": "phone-7",
            "notification": {"title": PARTS["title"], "body": PARTS["body"]},
            "data": {"url": PARTS["url"], "tag": "delivery-7"},
            "android": {"notification": {"tag": "delivery-7"}},
            "apns": {"headers": {"apns-collapse-id": "delivery-7"}},
            "webpush": {"notification": {"tag": "delivery-7"}, "fcm_options": {"link": PARTS["url"]}},
        }
    ]


@pytest.mark.parametrize(
    ("seconds_left", "shortest", "longest"), [(900, 880, 900), (-5, 0, 0), (10**7, 4 * 7 * 86400, 4 * 7 * 86400)]
)
def test_message_ttl_ends_at_its_expiry_and_its_priority_is_high(
    seconds_left: int, shortest: int, longest: int
) -> None:
    firebase = Firebase()
    send_pages(firebase, [message(expires_at=datetime.now(UTC) + timedelta(seconds=seconds_left))])
    (sent,) = firebase.messages
    assert shortest <= int(sent["android"]["ttl"].removesuffix("s")) <= longest
    assert shortest <= int(sent["webpush"]["headers"]["TTL"]) <= longest
    assert sent["android"]["priority"] == "HIGH"
    assert int(sent["apns"]["headers"]["apns-expiration"]) > 0


@pytest.mark.parametrize(
    "reply",
    [
        refusal(404, "NOT_FOUND", "UNREGISTERED"),
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field_named="message.token"),
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text="The registration token is not a valid FCM …"),
    ],
)
def test_unregistered_token_marks_its_address_invalid(reply: web.Response) -> None:
    (result,) = send_pages(Firebase([reply]), [message()])
    assert (result.outcome, result.is_address_invalid) == (SendOutcome.FAILED, True)
    assert result.error_class in ("UNREGISTERED", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field_named="message.android.ttl"), "INVALID_ARGUMENT"),
        (refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH"),
        (refusal(404, "NOT_FOUND", ""), "NOT_FOUND"),
        (web.Response(status=404, text="<html>"), "HTTP 404"),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), "HTTP 302"),
    ],
)
def test_refusal_for_another_reason_keeps_the_address(reply: web.Response, error_class: str) -> None:
    results = send_pages(Firebase([reply]), [message(1)], [message(2)])
    assert outcomes(results) == [(SendOutcome.FAILED, error_class, False), SENT]


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        ((403, "PERMISSION_DENIED", ""), "PERMISSION_DENIED"),
        ((401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), "THIRD_PARTY_AUTH_ERROR"),
    ],
)
def test_refused_credentials_defer_the_message_and_concern_the_whole_project(
    reply: tuple[int, str, str], error_class: str
) -> None:
    (result,) = send_pages(Firebase([refusal(*reply), refusal(*reply)]), [message()])
    assert outcomes([result]) == [(SendOutcome.DEFERRED, error_class, False)]
    assert (result.scope, result.destination) == (Scope.SERVER, PROJECT)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_busy_server_defers_the_message(status: int) -> None:
    results = send_pages(Firebase([refusal(status, "UNAVAILABLE", "UNAVAILABLE")]), [message(1)], [message(2)])
    assert outcomes(results) == [(SendOutcome.DEFERRED, str(status), False), SENT]


def test_long_retry_after_defers_later_messages_without_requests() -> None:
    firebase = Firebase([refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="60")])
    results = send_pages(firebase, [message(1)], [message(2), message(3)])
    later = (SendOutcome.DEFERRED, NOT_TRIED, False)
    assert outcomes(results) == [(SendOutcome.DEFERRED, "429", False), later, later]
    assert firebase.attempts == 1
    waits = [result.retry_after for result in results]
    assert waits[0] == timedelta(seconds=60)
    assert all(wait is not None and timedelta(seconds=55) < wait < timedelta(seconds=65) for wait in waits)
    assert {(result.scope, result.destination) for result in results} == {(Scope.SERVER, PROJECT)}


@pytest.mark.parametrize("status", [500, 503])
def test_one_message_that_is_refused_with_a_long_retry_after_does_not_stop_the_others(status: int) -> None:
    faults = PushFaults(status=status, share=0.05, retry_after="3600", tries=None, seed=3)
    firebase = Firebase(faults=faults)
    results = send_pages(firebase, [message(place) for place in range(100)], concurrency=4)
    assert {result.outcome for result in results} == {SendOutcome.SENT, SendOutcome.DEFERRED}
    refused = [result for result in results if result.outcome is SendOutcome.DEFERRED]
    assert {(result.error_class, result.retry_after) for result in refused} == {(str(status), timedelta(hours=1))}
    assert 0 < len(refused) == faults.refusals[status] < 12


def test_a_project_that_refuses_everything_gets_a_few_requests_only() -> None:
    firebase = Firebase(faults=PushFaults(status=503, tries=None))
    results = send_pages(firebase, *([message(page * 100 + place) for place in range(100)] for page in range(3)))
    assert {result.outcome for result in results} == {SendOutcome.DEFERRED}
    assert firebase.attempts < 50


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", None),
        ("soon", None),
        ("", None),
        ("90", timedelta(seconds=90)),
        ("999999999", timedelta(hours=1)),
        ("Fri, 31 Dec 2199 23:59:59 GMT", timedelta(hours=1)),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
    ],
)
def test_retry_after_may_be_seconds_or_a_date_and_is_at_most_an_hour(header: str, wait: timedelta | None) -> None:
    (result,) = send_pages(Firebase([refusal(429, "RESOURCE_EXHAUSTED", "", retry_after=header)]), [message()])
    assert result.retry_after == wait


def test_short_retry_after_is_waited_for() -> None:
    firebase = Firebase([refusal(503, "UNAVAILABLE", "UNAVAILABLE", retry_after="1")])
    assert outcomes(send_pages(firebase, [message(1)], [message(2)])) == [(SendOutcome.DEFERRED, "503", False), SENT]


def test_unanswered_message_is_unknown() -> None:
    assert outcomes(send_pages(Firebase([None]), [message()])) == [
        (SendOutcome.UNKNOWN, "ServerDisconnectedError", False)
    ]
    silent = send_pages(Firebase(silent=True), [message()], timeout=timedelta(seconds=1))
    assert outcomes(silent) == [(SendOutcome.UNKNOWN, "Timeout", False)]


def test_message_is_deferred_if_no_connection_can_be_opened() -> None:
    nowhere = f"http://127.0.0.1:{next(port for port in candidates() if is_free(port))}"

    async def send() -> list[SendResult]:
        async with Firebase() as firebase, FcmSender(build_config(firebase, base_url=nowhere)) as channel:
            return await channel.send([message()])

    (result,) = asyncio.run(send())
    assert result.outcome is SendOutcome.DEFERRED


def test_access_token_is_requested_once_and_renewed_before_it_expires() -> None:
    firebase = Firebase()
    send_pages(firebase, [message(place) for place in range(50)], [message(51)])
    assert len(firebase.granted) == 1
    expiring = Firebase(lifetime=299)
    send_pages(expiring, [message(1)], [message(2)])
    assert len(expiring.granted) == 3


def test_revoked_access_token_is_renewed_once() -> None:
    firebase = Firebase(revoked={"token-0"})
    assert outcomes(send_pages(firebase, [message(place) for place in range(10)])) == [SENT] * 10
    assert len(firebase.granted) == 2
    firebase = Firebase(revoked={f"token-{place}" for place in range(10)})
    assert outcomes(send_pages(firebase, [message()])) == [(SendOutcome.DEFERRED, "UNAUTHENTICATED", False)]


def test_unavailable_token_server_defers_all_messages_after_one_request() -> None:
    firebase = Firebase(token_replies=[web.Response(status=503) for _ in range(2)])
    results = send_pages(firebase, [message(place) for place in range(20)])
    assert {result.outcome for result in results} == {SendOutcome.DEFERRED}
    assert {result.error_class for result in results} <= {"TokenUnavailable", NOT_TRIED}
    assert {result.scope for result in results} == {Scope.SERVER}
    assert firebase.attempts == 0
    assert len(firebase.token_replies) == 1


def test_service_account_without_rights_is_an_error() -> None:
    firebase = Firebase(token_replies=[web.json_response({"error": "invalid_grant"}, status=400)])
    with pytest.raises(ChannelRefused, match="400"):
        send_pages(firebase, [message()])


def test_concurrent_requests_are_bounded_and_results_keep_their_order() -> None:
    firebase = Firebase()
    results = send_pages(firebase, [message(place) for place in range(40)], concurrency=4)
    assert [result.delivery_id for result in results] == list(range(40))
    assert firebase.max_in_flight <= 4


def test_one_bad_message_does_not_affect_others() -> None:
    results = send_pages(Firebase(), [message(1, parts={"title": "no body"}), message(2)])
    assert outcomes(results) == [(SendOutcome.FAILED, "PartMissing", False), SENT]


def test_error_holds_the_answer_without_the_token() -> None:
    (result,) = send_pages(Firebase([refusal(404, "NOT_FOUND", "UNREGISTERED", text="phone-1\n is gone")]), [message()])
    assert result.error == "… is gone"


@pytest.mark.parametrize("form", [json.dumps, dict])
def test_connection_holds_the_key_of_a_service_account(form: Any) -> None:
    async def read() -> FcmConfig:
        async with Firebase() as firebase:
            keyfile = form(json.loads(firebase.keyfile()))
            return FcmConfig.from_connection(host="", port=None, login="", password="", extra={"keyfile_dict": keyfile})

    config = asyncio.run(read())
    assert (config.project_id, config.account.email, config.base_url) == (PROJECT, EMAIL, "https://fcm.googleapis.com")
    assert "key=" not in repr(config)
    assert FcmSender(config).host == f"fcm.googleapis.com/{PROJECT}"


def test_connection_without_a_service_account_key_is_refused() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )
    no_rsa = {"private_key": pem, "client_email": "a", "project_id": "b"}
    for keyfile in (None, "{", "[]", {"private_key": "x"}, {"private_key": 1}, no_rsa):
        with pytest.raises(ChannelRefused, match="keyfile_dict"):
            FcmConfig.from_connection(host="", port=None, login="", password="", extra={"keyfile_dict": keyfile})
