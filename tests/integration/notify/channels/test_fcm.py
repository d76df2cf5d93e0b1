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
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.channels.fcm import FcmConfig, FcmSender
from tests.integration.notify.channels.firebase import EMAIL, PROJECT, Firebase, refusal

PARTS = {"title": "Is this you?", "body": "A payment of 500 €", "url": "https://bank.example/alerts/1"}


def message(delivery_id: int = 1, **changes: Any) -> Message:
    return Message(delivery_id, **{"address": f"phone-{delivery_id}", "parts": PARTS} | changes)


def project(firebase: Firebase, **changes: Any) -> FcmConfig:
    extra = {"keyfile_dict": firebase.keyfile()}
    found = FcmConfig.from_connection(host=firebase.url, port=None, login="", password="", extra=extra)
    return replace(found, **{"timeout": timedelta(seconds=5)} | changes)


def sent(firebase: Firebase, *pages: Sequence[Message], **changes: Any) -> list[SendResult]:
    async def send() -> list[SendResult]:
        async with firebase, FcmSender(project(firebase, **changes)) as channel:
            return [result for page in pages for result in await channel.send(page)]

    return asyncio.run(send())


def outcomes(results: Sequence[SendResult]) -> list[tuple[SendOutcome, str, bool]]:
    return [(result.outcome, result.error_class, result.is_address_invalid) for result in results]


SENT = (SendOutcome.SENT, "", False)


def test_a_message_arrives_with_what_it_says_and_a_tag_that_replaces_it() -> None:
    firebase = Firebase()
    assert outcomes(sent(firebase, [message(7)])) == [SENT]
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
    ("left", "shortest", "longest"), [(900, 880, 900), (-5, 0, 0), (10**7, 4 * 7 * 86400, 4 * 7 * 86400)]
)
def test_a_message_lives_until_it_expires_and_wakes_the_phone(left: int, shortest: int, longest: int) -> None:
    firebase = Firebase()
    sent(firebase, [message(expires_at=datetime.now(UTC) + timedelta(seconds=left))])
    (found,) = firebase.messages
    assert shortest <= int(found["android"]["ttl"].removesuffix("s")) <= longest
    assert shortest <= int(found["webpush"]["headers"]["TTL"]) <= longest
    assert found["android"]["priority"] == "HIGH"
    assert int(found["apns"]["headers"]["apns-expiration"]) > 0


@pytest.mark.parametrize(
    "reply",
    [
        refusal(404, "NOT_FOUND", "UNREGISTERED"),
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field_named="message.token"),
        refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", text="The registration token is not a valid FCM …"),
    ],
)
def test_a_token_that_ended_is_pruned(reply: web.Response) -> None:
    (result,) = sent(Firebase([reply]), [message()])
    assert (result.outcome, result.is_address_invalid) == (SendOutcome.FAILED, True)
    assert result.error_class in ("UNREGISTERED", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field_named="message.android.ttl"), "INVALID_ARGUMENT"),
        (refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"), "SENDER_ID_MISMATCH"),
        (refusal(403, "PERMISSION_DENIED", ""), "PERMISSION_DENIED"),
        (refusal(404, "NOT_FOUND", ""), "NOT_FOUND"),
        (web.Response(status=404, text="<html>"), "HTTP 404"),
        (web.Response(status=302, headers={"Location": "/elsewhere"}), "HTTP 302"),
    ],
)
def test_a_refusal_that_is_not_of_the_token_prunes_nothing(reply: web.Response, error_class: str) -> None:
    results = sent(Firebase([reply]), [message(1)], [message(2)])
    assert outcomes(results) == [(SendOutcome.FAILED, error_class, False), SENT]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_busy_defers(status: int) -> None:
    results = sent(Firebase([refusal(status, "UNAVAILABLE", "UNAVAILABLE")]), [message(1)], [message(2)])
    assert outcomes(results) == [(SendOutcome.DEFERRED, str(status), False), SENT]


def test_a_server_that_asks_for_a_long_wait_is_left_alone() -> None:
    firebase = Firebase([refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", retry_after="60")])
    results = sent(firebase, [message(1)], [message(2), message(3)])
    later = (SendOutcome.DEFERRED, "RetryAfter", False)
    assert outcomes(results) == [(SendOutcome.DEFERRED, "429", False), later, later]
    assert firebase.attempts == 1


def test_a_server_that_asks_for_a_short_wait_gets_it() -> None:
    firebase = Firebase([refusal(503, "UNAVAILABLE", "UNAVAILABLE", retry_after="1")])
    assert outcomes(sent(firebase, [message(1)], [message(2)])) == [(SendOutcome.DEFERRED, "503", False), SENT]


def test_nobody_knows_about_a_message_that_was_sent_and_not_answered() -> None:
    assert outcomes(sent(Firebase([None]), [message()])) == [(SendOutcome.UNKNOWN, "ServerDisconnectedError", False)]
    silent = sent(Firebase(silent=True), [message()], timeout=timedelta(seconds=1))
    assert outcomes(silent) == [(SendOutcome.UNKNOWN, "Timeout", False)]


def test_a_message_is_deferred_if_no_connection_comes_about() -> None:
    nowhere = f"http://127.0.0.1:{next(port for port in candidates() if is_free(port))}"

    async def send() -> list[SendResult]:
        async with Firebase() as firebase, FcmSender(project(firebase, base_url=nowhere)) as channel:
            return await channel.send([message()])

    (result,) = asyncio.run(send())
    assert result.outcome is SendOutcome.DEFERRED


def test_a_token_is_asked_for_once_and_renewed_before_it_ends() -> None:
    firebase = Firebase()
    sent(firebase, [message(place) for place in range(50)], [message(51)])
    assert len(firebase.granted) == 1
    ending = Firebase(lifetime=299)
    sent(ending, [message(1)], [message(2)])
    assert len(ending.granted) == 3


def test_a_token_that_is_revoked_is_renewed_once() -> None:
    firebase = Firebase(revoked={"token-0"})
    assert outcomes(sent(firebase, [message(place) for place in range(10)])) == [SENT] * 10
    assert len(firebase.granted) == 2
    firebase = Firebase(revoked={f"token-{place}" for place in range(10)})
    assert outcomes(sent(firebase, [message()])) == [(SendOutcome.DEFERRED, "UNAUTHENTICATED", False)]


def test_a_token_server_that_is_away_defers_all_and_is_not_asked_for_each() -> None:
    firebase = Firebase(token_replies=[web.Response(status=503) for _ in range(2)])
    results = sent(firebase, [message(place) for place in range(20)])
    assert set(outcomes(results)) == {(SendOutcome.DEFERRED, "TokenUnavailable", False)}
    assert firebase.attempts == 0
    assert len(firebase.token_replies) == 1


def test_an_account_without_rights_stops_the_start() -> None:
    firebase = Firebase(token_replies=[web.json_response({"error": "invalid_grant"}, status=400)])
    with pytest.raises(ChannelRefused, match="400"):
        sent(firebase, [message()])


def test_requests_under_way_are_bounded_and_results_keep_their_order() -> None:
    firebase = Firebase()
    results = sent(firebase, [message(place) for place in range(40)], concurrency=4)
    assert [result.delivery_id for result in results] == list(range(40))
    assert firebase.max_in_flight <= 4


def test_one_message_sinks_no_others() -> None:
    results = sent(Firebase(), [message(1, parts={"title": "no body"}), message(2)])
    assert outcomes(results) == [(SendOutcome.FAILED, "PartMissing", False), SENT]


def test_what_a_server_says_is_kept_without_the_token() -> None:
    (result,) = sent(Firebase([refusal(404, "NOT_FOUND", "UNREGISTERED", text="phone-1\n is gone")]), [message()])
    assert result.error == "… is gone"


@pytest.mark.parametrize("form", [json.dumps, dict])
def test_a_connection_holds_a_service_accounts_key(form: Any) -> None:
    async def read() -> FcmConfig:
        async with Firebase() as firebase:
            keyfile = form(json.loads(firebase.keyfile()))
            return FcmConfig.from_connection(host="", port=None, login="", password="", extra={"keyfile_dict": keyfile})

    found = asyncio.run(read())
    assert (found.project_id, found.account.email, found.base_url) == (PROJECT, EMAIL, "https://fcm.googleapis.com")
    assert "key=" not in repr(found)
    assert FcmSender(found).host == f"fcm.googleapis.com/{PROJECT}"


def test_a_connection_without_such_a_key_says_so() -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        .decode()
    )
    no_rsa = {"private_key": pem, "client_email": "a", "project_id": "b"}
    for keyfile in (None, "{", "[]", {"private_key": "x"}, {"private_key": 1}, no_rsa):
        with pytest.raises(ChannelRefused, match="keyfile_dict"):
            FcmConfig.from_connection(host="", port=None, login="", password="", extra={"keyfile_dict": keyfile})
