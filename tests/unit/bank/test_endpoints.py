from collections.abc import Callable
from typing import Any

import httpx
import pytest

from dev.bank.bank import Bank

Send = Callable[..., httpx.Response]
LOGIN = "/sandbox/item/reset_login"
READ_PATHS = ("/accounts/get", "/accounts/balance/get", "/transactions/sync", "/transactions/get")
WINDOW = {"start_date": "2026-06-01", "end_date": "2026-06-29"}


def read(send: Send, path: str, access_token: str) -> httpx.Response:
    return send(path, {"access_token": access_token, **(WINDOW if path == "/transactions/get" else {})})


def code(response: httpx.Response) -> str | None:
    error_code: str | None = response.json().get("error_code")
    return error_code


def link_again(send: Send) -> str:
    options = {"override_username": "user_7"}
    fields = {"institution_id": "ins_109508", "initial_products": ["transactions"], "options": options}
    public_token = send("/sandbox/public_token/create", fields).json()["public_token"]
    return str(send("/item/public_token/exchange", {"public_token": public_token}).json()["access_token"])


@pytest.mark.parametrize("path", READ_PATHS)
def test_a_reset_login_makes_an_item_unreadable_until_it_is_linked_again(
    send: Send, access_token: str, path: str
) -> None:
    assert send(LOGIN, {"access_token": access_token}).json()["reset_login"] is True
    locked = read(send, path, access_token)
    assert (locked.status_code, locked.json()["error_type"], code(locked)) == (400, "ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
    assert link_again(send) == access_token
    assert read(send, path, access_token).status_code == 200


def test_an_item_has_the_error_that_makes_it_unreadable(send: Send, access_token: str) -> None:
    assert send("/item/get", {"access_token": access_token}).json()["item"]["error"] is None
    send(LOGIN, {"access_token": access_token})
    error = send("/item/get", {"access_token": access_token}).json()["item"]["error"]
    assert error["error_code"] == "ITEM_LOGIN_REQUIRED"


@pytest.mark.parametrize("path", [*READ_PATHS, "/item/get", "/item/remove", LOGIN])
def test_a_removed_item_is_not_found_until_it_is_linked_again(send: Send, access_token: str, path: str) -> None:
    assert send("/item/remove", {"access_token": access_token}).json().keys() == {"request_id"}
    gone = read(send, path, access_token)
    assert (gone.status_code, code(gone)) == (400, "ITEM_NOT_FOUND")
    link_again(send)
    assert read(send, path, access_token).status_code == 200


def test_an_unreadable_item_affects_no_other(send: Send, access_token: str, bank: Bank) -> None:
    send(LOGIN, {"access_token": access_token})
    fields = {"institution_id": "ins_109508", "initial_products": ["transactions"]}
    created = send("/sandbox/public_token/create", {**fields, "options": {"override_username": "user_8"}})
    other = send("/item/public_token/exchange", {"public_token": created.json()["public_token"]})
    assert read(send, "/accounts/get", other.json()["access_token"]).status_code == 200


def test_live_balances_equal_those_of_the_accounts(send: Send, access_token: str) -> None:
    live, stored = (
        read(send, path, access_token).json()["accounts"] for path in ("/accounts/balance/get", "/accounts/get")
    )
    assert live == stored


def test_live_balances_are_selected_by_account(send: Send, access_token: str) -> None:
    accounts = read(send, "/accounts/balance/get", access_token).json()["accounts"]
    options = {"account_ids": [accounts[0]["account_id"]], "min_last_updated_datetime": "2026-06-01T00:00:00Z"}
    response = send("/accounts/balance/get", {"access_token": access_token, "options": options})
    assert response.json()["accounts"] == accounts[:1]


def sample(**fields: Any) -> dict[str, Any]:
    return {
        "date_transacted": "2026-06-27",
        "date_posted": "2026-06-28",
        "amount": 12.05,
        "description": "COFFEE",
        **fields,
    }


def create(send: Send, access_token: str, transactions: list[dict[str, Any]]) -> httpx.Response:
    return send("/sandbox/transactions/create", {"access_token": access_token, "transactions": transactions})


@pytest.fixture
def currency(send: Send, access_token: str) -> str:
    account = read(send, "/accounts/get", access_token).json()["accounts"][0]
    return str(account["balances"]["iso_currency_code"])


def test_created_transactions_come_with_the_next_sync(send: Send, access_token: str, currency: str) -> None:
    before = read(send, "/transactions/sync", access_token).json()
    cursor = send("/transactions/sync", {"access_token": access_token, "cursor": "now"}).json()["next_cursor"]
    transactions = [
        sample(iso_currency_code=currency),
        sample(iso_currency_code=currency, amount=-3, description="BACK"),
    ]
    assert create(send, access_token, transactions).json().keys() == {"request_id"}
    after = send("/transactions/sync", {"access_token": access_token, "cursor": cursor}).json()
    assert [(each["name"], each["amount"], each["date"]) for each in after["added"]] == [
        ("COFFEE", 12.05, "2026-06-28"),
        ("BACK", -3, "2026-06-28"),
    ]
    assert {each["authorized_date"] for each in after["added"]} == {"2026-06-27"}
    balances = [each["accounts"][0]["balances"]["current"] for each in (before, after)]
    assert round(balances[0] - balances[1], 2) == 9.05


def test_created_transactions_are_listed_by_their_own_date(send: Send, access_token: str, currency: str) -> None:
    transactions = [sample(iso_currency_code=currency, date_transacted="2026-06-16", date_posted="2026-06-16")]
    assert create(send, access_token, transactions).json().keys() == {"request_id"}
    window = {"start_date": "2026-06-16", "end_date": "2026-06-16"}
    listed = send("/transactions/get", {"access_token": access_token, **window}).json()["transactions"]
    assert "COFFEE" in {each["name"] for each in listed}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"date_posted": "2026-06-30"}, "within the last 14 days"),
        ({"date_transacted": "2026-06-14"}, "within the last 14 days"),
        ({"date_transacted": "2026-06-28", "date_posted": "2026-06-27"}, "cannot be before the transaction date"),
        ({"iso_currency_code": "XTS"}, "iso_currency_code must be the account's"),
        ({"amount": 10**12}, "amount must be below"),
        ({"amount": -1e300}, "amount must be below"),
    ],
)
def test_transactions_that_cannot_be_created_are_refused(
    send: Send, access_token: str, fields: dict[str, Any], message: str
) -> None:
    response = send(
        "/sandbox/transactions/create",
        {"access_token": access_token, "transactions": [sample(**{"iso_currency_code": "", **fields})]},
    )
    assert (response.status_code, code(response)) == (400, "INVALID_FIELD")
    assert message in response.json()["error_message"]


def test_at_most_ten_transactions_are_created_at_once(send: Send, access_token: str, currency: str) -> None:
    transactions = [sample(iso_currency_code=currency)] * 11
    response = create(send, access_token, transactions)
    assert response.json()["error_message"] == "The request contains too many transactions."
    assert create(send, access_token, transactions[1:]).status_code == 200
