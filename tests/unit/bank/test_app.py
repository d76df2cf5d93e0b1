import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dev.bank.api import render
from dev.bank.api.auth import Credentials
from dev.bank.bank import Bank
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind

HEADERS = {"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}
Send = Callable[..., httpx.Response]

CREATE = "/sandbox/public_token/create"
EXCHANGE = "/item/public_token/exchange"
SYNC = "/transactions/sync"
CUSTOMER = {"institution_id": "ins_900401", "initial_products": ["transactions"]}
STRANGER = "access-sandbox-de3ce8ef-33f8-452c-a685-8671031fc0f6"
ERROR_FIELDS = {
    "display_message",
    "documentation_url",
    "error_code",
    "error_message",
    "error_type",
    "request_id",
    "suggested_action",
}


def check(response: httpx.Response, error_type: str, error_code: str, message: str, *, status: int = 400) -> None:
    answer = response.json()
    assert response.status_code == status
    assert answer.keys() == ERROR_FIELDS
    assert (answer["error_type"], answer["error_code"]) == (error_type, error_code)
    assert re.fullmatch(message, answer["error_message"])
    assert answer["request_id"].isalnum()


def test_health_returns_the_day(send: Send) -> None:
    response = send("/health", method="GET", headers={})
    assert (response.status_code, response.json()) == (200, {"status": "ok", "day": "2026-06-29"})


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"PLAID-CLIENT-ID": "client", "PLAID-SECRET": "secret"}, {}),
        ({}, {"client_id": "client", "secret": "secret"}),
        ({"PLAID-CLIENT-ID": "client"}, {"secret": "secret"}),
    ],
)
def test_credentials_come_by_header_or_by_body(send: Send, headers: dict[str, str], fields: dict[str, str]) -> None:
    assert send(CREATE, {**CUSTOMER, **fields}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"client_id": "client", "secret": "Secret"},
        {"client_id": "clients", "secret": "secret"},
        {"client_id": "client", "secret": 7},
        {"client_id": "client", "secret": "sécret"},
    ],
)
def test_other_credentials_are_refused(send: Send, fields: dict[str, Any]) -> None:
    response = send(CREATE, {**CUSTOMER, **fields}, headers={})
    check(response, "INVALID_INPUT", "INVALID_API_KEYS", "invalid client_id or secret provided")


def test_missing_credentials_are_named(send: Send) -> None:
    response = send(SYNC, {}, headers={"PLAID-CLIENT-ID": "client"})
    check(response, "INVALID_REQUEST", "MISSING_FIELDS", "the following required fields are missing: secret")


def test_missing_fields_are_named(send: Send) -> None:
    message = "the following required fields are missing: institution_id, initial_products"
    check(send(CREATE, {}), "INVALID_REQUEST", "MISSING_FIELDS", message)


def test_unknown_fields_are_ignored(send: Send, access_token: str) -> None:
    response = send(SYNC, {"access_token": access_token, "count": 1, "cursr": "", "options": {"colour": "red"}})
    assert (
        response.content.partition(b'"request_id"')[0]
        == (send(SYNC, {"access_token": access_token, "count": 1}).content.partition(b'"request_id"')[0])
    )


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"access_token": None}, "access_token"),
        ({"secret": 7}, "secret"),
        ({"count": 0}, "count"),
        ({"count": 501}, "count"),
        ({"count": "100"}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": 1e300}, "count"),
        ({"count": True}, "count"),
        ({"cursor": 7}, "cursor"),
        ({"options": None}, "options"),
        ({"options": {"days_requested": 731}}, "options.days_requested"),
    ],
)
def test_wrong_fields_are_named(send: Send, fields: dict[str, Any], where: str) -> None:
    response = send(SYNC, {"access_token": STRANGER, **fields})
    check(response, "INVALID_REQUEST", "INVALID_FIELD", rf"Expected .* - at `\$\.{where}`")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{} {}", b"\xff", b"[" * 60_000, b'"\\ud800"'])
def test_a_body_that_is_no_json_object_is_refused(send: Send, body: bytes) -> None:
    response = send(SYNC, content=body, headers={"Content-Type": "application/json"})
    check(response, "INVALID_REQUEST", "INVALID_BODY", "body could not be parsed as JSON")


def test_a_body_sent_as_something_else_is_refused(send: Send) -> None:
    response = send(SYNC, content=b"{}", headers={"Content-Type": "text/plain"})
    check(response, "INVALID_REQUEST", "INVALID_BODY", "body could not be parsed as JSON")


def test_a_body_above_the_limit_is_refused(send: Send) -> None:
    response = send(SYNC, {"access_token": "a" * 70_000})
    check(response, "INVALID_REQUEST", "INVALID_BODY", "body is longer than 65536 bytes; send less")


@pytest.mark.parametrize("path", ["/item/get", "/accounts/get", SYNC])
def test_a_made_up_access_token_is_refused(send: Send, path: str) -> None:
    response = send(path, {"access_token": STRANGER})
    check(response, "INVALID_INPUT", "INVALID_ACCESS_TOKEN", "could not find matching access token")


def test_a_made_up_public_token_is_refused(send: Send) -> None:
    response = send(EXCHANGE, {"public_token": STRANGER.replace("access", "public")})
    check(response, "INVALID_INPUT", "INVALID_PUBLIC_TOKEN", "could not find matching public token")


def test_a_made_up_cursor_is_refused(send: Send, access_token: str) -> None:
    response = send(SYNC, {"access_token": access_token, "cursor": "AAAA"})
    check(response, "INVALID_REQUEST", "INVALID_FIELD", "cursor not associated with access_token")


def test_an_account_of_another_item_is_refused(send: Send, bank: Bank, access_token: str) -> None:
    options = {"account_ids": [bank.ledger(8).item.accounts[0].account_id]}
    response = send("/accounts/get", {"access_token": access_token, "options": options})
    check(response, "INVALID_INPUT", "INVALID_ACCOUNT_ID", "failed to find requested account ID for requested item")


def test_an_unknown_institution_is_refused(send: Send) -> None:
    response = send(CREATE, {**CUSTOMER, "institution_id": "ins_1"})
    check(response, "INVALID_INPUT", "INVALID_INSTITUTION", "invalid institution_id provided")


@pytest.mark.parametrize("digits", [str(2**64), "9" * 5_000])
def test_a_user_number_that_no_token_can_encode_is_refused(send: Send, digits: str) -> None:
    response = send(CREATE, {**CUSTOMER, "options": {"override_username": f"user_{digits}"}})
    check(response, "INVALID_REQUEST", "INVALID_FIELD", "override_username must be user_<n> with n below .*")


def test_an_unknown_route_is_not_found(send: Send) -> None:
    check(send("/nowhere", {}), "INVALID_REQUEST", "NOT_FOUND", "not found", status=404)


def test_a_wrong_method_is_not_found_and_the_right_one_is_named(send: Send) -> None:
    response = send(SYNC, method="GET")
    check(response, "INVALID_REQUEST", "NOT_FOUND", "not found", status=405)
    assert response.headers["allow"] == "POST"


def test_a_failure_of_the_bank_is_an_api_error(send: Send, access_token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "status", None)
    response = send("/item/get", {"access_token": access_token})
    check(response, "API_ERROR", "INTERNAL_SERVER_ERROR", "an unexpected error occurred", status=500)


def test_a_whole_number_may_be_written_with_a_point(send: Send, access_token: str) -> None:
    body = json.dumps({"access_token": access_token, "count": 7}).replace("7}", "7.0}")
    response = send(SYNC, content=body.encode(), headers={**HEADERS, "Content-Type": "application/json"})
    assert len(response.json()["added"]) == 7


def test_a_number_beyond_all_bounds_is_an_invalid_field(send: Send) -> None:
    body = b'{"access_token": "a", "count": 1e999999999}'
    response = send(SYNC, content=body, headers={**HEADERS, "Content-Type": "application/json"})
    check(response, "INVALID_REQUEST", "INVALID_FIELD", r"Expected `int`.* - at `\$\.count`")


def test_equal_requests_have_equal_responses_byte_for_byte(send: Send, access_token: str) -> None:
    first, second = (send(SYNC, {"access_token": access_token, "count": 50}).content for _ in range(2))
    assert first == second


def test_a_numbered_user_is_always_the_same_item(send: Send) -> None:
    fields = {**CUSTOMER, "options": {"override_username": "user_41"}}
    assert send(CREATE, fields).json()["public_token"] == send(CREATE, fields).json()["public_token"]


def test_any_other_user_is_a_random_item_at_the_requested_institution(send: Send) -> None:
    public_tokens = [send(CREATE, CUSTOMER).json()["public_token"] for _ in range(2)]
    exchanged = [send(EXCHANGE, {"public_token": each}).json() for each in public_tokens]
    items = [send("/item/get", {"access_token": each["access_token"]}).json()["item"] for each in exchanged]
    assert [each["item_id"] for each in items] == [each["item_id"] for each in exchanged]
    assert len({each["item_id"] for each in items}) == 2
    assert {each["institution_id"] for each in items} == {"ins_900401"}


def test_accounts_are_selected_by_id(send: Send, access_token: str) -> None:
    accounts = send("/accounts/get", {"access_token": access_token}).json()["accounts"]
    options = {"account_ids": [accounts[-1]["account_id"]]}
    assert send("/accounts/get", {"access_token": access_token, "options": options}).json()["accounts"] == accounts[-1:]


def test_accounts_and_sync_agree_on_balances(send: Send, access_token: str) -> None:
    listed, synced = (send(path, {"access_token": access_token}).json() for path in ("/accounts/get", SYNC))
    assert listed["accounts"] == synced["accounts"]


@pytest.mark.parametrize(("code", "places"), [("USD", 2), ("EUR", 2), ("GBP", 2), ("JPY", 0), ("KWD", 3)])
def test_amounts_are_written_with_the_currencys_decimals(send: Send, bank: Bank, code: str, places: int) -> None:
    item = next(number for number in range(500) if bank.ledger(number).item.accounts[-1].currency.code == code)
    text = send(SYNC, {"access_token": tokens.mint(bank.key, TokenKind.ACCESS, item)}).text
    amounts = re.findall(r'"amount":-?\d+(?:\.(\d+))?,"iso_currency_code":"(\w+)"', text)
    assert len(amounts) == len(json.loads(text)["added"])
    assert {len(fraction) for fraction, currency in amounts if currency == code} == {places}


def test_a_secret_is_never_shown() -> None:
    assert "hush" not in repr(Credentials("client", "hush"))


def test_credentials_outside_ascii_are_refused() -> None:
    with pytest.raises(ValueError, match="outside ASCII"):
        Credentials("client", "sécret")
