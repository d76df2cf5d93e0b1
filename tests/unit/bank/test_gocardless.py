"""GoCardless's Bank Account Data API, as the sandbox bank serves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from dev.bank import journal
from dev.bank.bank import Bank
from dev.bank.changes import Agreement, Changes, Requisition
from dev.bank.gocardless import records
from dev.bank.gocardless.records import Ids
from dev.bank.truth import gocardless as truth

Send = Callable[..., httpx.Response]
API = "/gocardless/api/v2"
SECRETS = {"secret_id": "client", "secret_key": "secret"}
LATER_ACCOUNT = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"


@pytest.fixture
def get(send: Send) -> Send:
    """Return a function that sends a request with a token."""
    token = send(f"{API}/token/new/", SECRETS).json()["access"]

    def get(path: str, fields: object = None, *, method: str = "GET", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return send(API + path, fields, method=method, headers=headers, **options)

    return get


def link(send: Send, user: int = 7, **terms: object) -> list[str]:
    """Return the accounts of a user who has logged in."""
    answer = send("/gocardless/sandbox/requisition", {**SECRETS, "user": f"user_{user}", **terms}).raise_for_status()
    accounts: list[str] = answer.json()["accounts"]
    return accounts


def advance(send: Send, days: int) -> None:
    send("/sandbox/day", {"advance": days}).raise_for_status()


def user_of(bank: Bank, ids: Ids) -> int:
    """Return a user whose bank sends these ids."""
    return next(n for n in range(1_000) if records.ids_of(bank.ledger(n).item.institution) is ids)


def test_a_user_who_follows_the_link_of_a_requisition_grants_all_accounts(send: Send, get: Send, bank: Bank) -> None:
    (institution,) = get("/institutions/?country=de").json()
    agreement = get(
        "/agreements/enduser/", {"institution_id": institution["id"], "access_valid_for_days": 30}, method="POST"
    ).json()
    assert (agreement["accepted"], agreement["max_historical_days"]) == (None, 90)
    asked = {"redirect": "https://app.example/back", "institution_id": institution["id"], "agreement": agreement["id"]}
    requisition = get("/requisitions/", asked, method="POST")
    assert (requisition.status_code, requisition.json()["status"], requisition.json()["accounts"]) == (201, "CR", [])
    link_path = httpx.URL(requisition.json()["link"]).path
    logged_in = send(f"{link_path}?user=user_7", method="GET")
    assert logged_in.headers["location"] == f"https://app.example/back?ref={requisition.json()['id']}"
    granted = get(f"/requisitions/{requisition.json()['id']}/").json()
    expected = [records.account_id(bank.key, bank.ledger(7).item, each) for each in bank.ledger(7).item.accounts]
    assert (granted["status"], granted["accounts"]) == ("LN", expected)
    assert get(f"/agreements/enduser/{agreement['id']}/").json()["accepted"].startswith(str(bank.today))
    metadata = get(f"/accounts/{expected[0]}/").json()
    assert (metadata["status"], metadata["id"]) == ("READY", expected[0])
    get(f"/requisitions/{requisition.json()['id']}/", method="DELETE").raise_for_status()
    assert get(f"/accounts/{expected[0]}/").status_code == 404


@pytest.mark.parametrize("ids", Ids)
def test_transactions_are_those_of_the_ledger_with_the_ids_that_the_bank_sends(
    send: Send, get: Send, bank: Bank, ids: Ids
) -> None:
    user = user_of(bank, ids)
    for expected, account in zip(truth.of_item(bank, user), link(send, user, max_historical_days=365), strict=True):
        lists = get(f"/accounts/{account}/transactions/").raise_for_status().json()["transactions"]
        assert expected.account_id == account
        sent = [*lists["booked"], *lists["pending"]]
        assert len(sent) == len(expected.live)
        assert sum(-Decimal(each["transactionAmount"]["amount"]) for each in sent) == sum(
            Decimal(str(row["amount"])) for row in expected.live
        )
        fields = {field for each in lists["booked"] for field in each}
        assert ("transactionId" in fields, "internalTransactionId" in fields) == {
            Ids.BOTH: (True, True),
            Ids.SAME: (True, False),
            Ids.INTERNAL: (False, True),
            Ids.NONE: (False, False),
        }[ids]
        assert all("bookingDate" not in each and "valueDate" in each for each in lists["pending"])


def test_a_range_of_days_is_that_of_booking_and_goes_back_to_the_history_of_the_agreement(
    send: Send, get: Send, bank: Bank
) -> None:
    (account, *_) = link(send, max_historical_days=20)
    lists = get(f"/accounts/{account}/transactions/").json()["transactions"]
    assert min(each["bookingDate"] for each in lists["booked"]) >= str(bank.today - timedelta(days=20))
    first, last = bank.today - timedelta(days=9), bank.today - timedelta(days=5)
    part = get(f"/accounts/{account}/transactions/?date_from={first}&date_to={last}").json()["transactions"]
    expected = [each for each in lists["booked"] if str(first) <= each["bookingDate"] <= str(last)]
    assert part == {"booked": expected, "pending": lists["pending"]}


def test_details_and_balances_are_those_of_the_account(send: Send, get: Send, bank: Bank) -> None:
    (account, *_) = link(send)
    details = get(f"/accounts/{account}/details/").json()["account"]
    assert details["currency"] == bank.ledger(7).item.accounts[0].currency.code
    rearranged = details["iban"][4:] + details["iban"][:4]
    assert int("".join(str(int(letter, 36)) for letter in rearranged)) % 97 == 1
    kinds = {each["balanceType"] for each in get(f"/accounts/{account}/balances/").json()["balances"]}
    assert kinds == {"interimBooked", "interimAvailable"}


def test_four_calls_a_day_of_an_account_and_scope_succeed_and_headers_tell_how_many_are_left(
    send: Send, get: Send
) -> None:
    (account, *_) = link(send)
    path = f"/accounts/{account}/details/"
    left = [get(path).headers["HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_REMAINING"] for _ in range(4)]
    assert left == ["3", "2", "1", "0"]
    refused = get(path)
    assert refused.status_code == 429
    assert refused.json()["detail"].startswith("The rate limit for this resource is 4/day. Please try again in 8")
    assert int(refused.headers["HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_RESET"]) > 86_000
    assert get(f"/accounts/{account}/balances/").status_code == 200
    assert get(f"/accounts/{account}/").status_code == 200
    advance(send, 1)
    assert get(path).status_code == 200


def test_calls_that_fail_do_not_count(send: Send, get: Send) -> None:
    (account, *_) = link(send)
    send("/sandbox/faults", {"faults": {"server_error": 1.0}}).raise_for_status()
    assert {get(f"/accounts/{account}/details/").status_code for _ in range(6)} == {500}
    send("/sandbox/faults", {"faults": {}}).raise_for_status()
    assert get(f"/accounts/{account}/details/").headers["HTTP_X_RATELIMIT_ACCOUNT_SUCCESS_REMAINING"] == "3"


def test_a_refresh_token_gets_an_access_token_and_an_access_token_is_no_refresh_token(send: Send) -> None:
    issued = send(f"{API}/token/new/", SECRETS).json()
    assert (issued["access_expires"], issued["refresh_expires"]) == (86_400, 2_592_000)
    access = send(f"{API}/token/refresh/", {"refresh": issued["refresh"]}).json()["access"]
    headers = {"Authorization": f"Bearer {access}"}
    assert send(f"{API}/institutions/", method="GET", headers=headers).status_code == 200
    refused = send(f"{API}/token/refresh/", {"refresh": issued["access"]})
    assert (refused.status_code, refused.json()["summary"]) == (401, "Invalid token")


def test_an_agreement_ends_and_a_new_one_gives_access_again(send: Send, get: Send) -> None:
    (account, *_) = link(send, access_valid_for_days=3)
    advance(send, 2)
    assert get(f"/accounts/{account}/details/").status_code == 200
    advance(send, 1)
    ended = get(f"/accounts/{account}/details/")
    assert ended.status_code == 401
    assert ended.json()["summary"].startswith("End User Agreement (EUA) ")
    assert ended.json()["detail"].startswith("EUA was valid for 3 days and it expired at 2026-07-02")
    assert get(f"/accounts/{account}/").json()["status"] == "EXPIRED"
    assert link(send)[0] == account
    assert get(f"/accounts/{account}/details/").status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("login_required", 401, "AccessExpiredError"),
        ("revoked", 401, "AccessExpiredError"),
        ("not_ready", 409, "AccountProcessing"),
        ("server_error", 500, "UnknownRequestError"),
        ("expired_token", 401, None),
        ("rate_limit", 429, None),
        ("daily_limit", 429, "RateLimitError"),
        ("wrong_environment", 404, None),
    ],
)
def test_faults_are_errors_of_this_api(send: Send, get: Send, fault: str, status: int, kind: str | None) -> None:
    (account, *_) = link(send)
    send("/sandbox/faults", {"faults": {fault: 1.0}}).raise_for_status()
    answer = get(f"/accounts/{account}/transactions/")
    assert (answer.status_code, answer.json().get("type"), answer.json()["status_code"]) == (status, kind, status)
    assert {"summary", "detail"} <= answer.json().keys()


@pytest.mark.parametrize(
    ("method", "path", "fields", "error"),
    [
        ("GET", "/accounts/7/details/", None, (400, "7 is not a valid Account UUID")),
        ("GET", f"/accounts/{LATER_ACCOUNT}/details/", None, (404, f"Account ID {LATER_ACCOUNT} not found")),
        ("GET", f"/accounts/{LATER_ACCOUNT}/transactions/?from=2026-06-01", None, (400, "Unknown fields {from}")),
        ("GET", f"/accounts/{LATER_ACCOUNT}/transactions/?date_from=1.6.2026", None, (400, "Enter a valid date.")),
        ("GET", "/institutions/?country=xx", None, (400, "xx is not a valid choice.")),
        ("GET", "/nothing/", None, (404, "Not found.")),
        ("POST", "/institutions/", {}, (405, "not allowed")),
        ("POST", "/requisitions/", {}, (400, '"redirect":["This field is required."]')),
        ("POST", "/agreements/enduser/", {"institution_id": "X"}, (400, "Unknown Institution ID X")),
        ("POST", "/token/new/", {"secret_id": "client", "secret_key": "x"}, (401, "No active account found")),
        ("POST", "/token/new/", {"secret_id": "client"}, (400, '"secret_key":["This field is required."]')),
    ],
)
def test_a_wrong_request_gets_the_error_of_this_api(
    get: Send, method: str, path: str, fields: object, error: tuple[int, str]
) -> None:
    answer = get(path, fields, method=method)
    status, text = error
    assert (answer.status_code, text in answer.text) == (status, True)


def test_a_request_without_a_token_is_refused(send: Send) -> None:
    assert send(f"{API}/institutions/", method="GET").json()["status_code"] == 401
    headers = {"Authorization": "Bearer made-up"}
    assert send(f"{API}/institutions/", method="GET", headers=headers).json()["summary"] == "Invalid token"


def test_a_range_that_ends_before_it_begins_and_a_scope_that_was_not_granted_are_refused(send: Send, get: Send) -> None:
    (account, *_) = link(send, access_scope=["transactions"])
    reversed_range = get(f"/accounts/{account}/transactions/?date_from=2026-06-20&date_to=2026-06-10")
    assert (reversed_range.status_code, reversed_range.json()["summary"]) == (400, "Incorrect date range")
    assert get(f"/accounts/{account}/details/").json()["summary"] == "End User Agreement (EUA) access scope error"


def test_agreements_and_requisitions_survive_a_restart(bank: Bank, tmp_path: Path) -> None:
    file = tmp_path / "journal"
    agreement = Agreement(
        agreement_id="a",
        institution_id="i",
        max_historical_days=90,
        access_valid_for_days=3,
        access_scope=["details"],
        created_on=bank.today,
        accepted_on=bank.today,
    )
    requisition = Requisition(
        requisition_id="r",
        institution_id="i",
        agreement_id="a",
        redirect="https://app.example",
        reference="r",
        created_on=bank.today,
        item=7,
        accounts=["x"],
    )
    for entry in (agreement, requisition):
        journal.append(file, entry)
    changes = Changes(journal.read(file))
    assert (changes.agreement("a"), changes.requisition_of("x")) == (agreement, requisition)
    changes.record(replace(requisition, is_deleted=True))
    assert changes.requisition_of("x") is None
