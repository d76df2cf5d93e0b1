"""The bank as a SimpleFIN server."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from dev.bank.api.app import create_app
from dev.bank.api.auth import Credentials
from dev.bank.api.rate_limits import RateLimits
from dev.bank.bank import Bank
from dev.bank.changes import Changes, SetupTokenClaimed
from dev.bank.simplefin import truth
from dev.bank.simplefin.access import User
from dev.bank.simplefin.quota import LEEWAY, REQUESTS_PER_DAY

DAY = date(2026, 11, 20)
CREDENTIALS = ("client", "secret")


def new_bank() -> Bank:
    return Bank.from_seed("moods", opened_on=DAY - timedelta(days=30), today=DAY)


class Server:
    """The server, and a client of it."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.app: Starlette = create_app(bank, Credentials(*CREDENTIALS), RateLimits(None))

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://bank") as client:
                return await client.request(method, url, **options)

        return asyncio.run(send())

    def create(self, user: int = 1) -> str:
        token = self.request("GET", "/simplefin/create", params={"user": user}, auth=CREDENTIALS)
        return b64decode(token.text).decode()

    def link(self, user: int = 1) -> str:
        answer = self.request("POST", self.create(user))
        assert answer.status_code == 200
        return answer.text

    def accounts(self, access_url: str, **query: object) -> dict[str, Any]:
        parameters = {"version": 2, **{name.replace("_", "-"): value for name, value in query.items()}}
        answer = self.request("GET", f"{access_url}/accounts", params=parameters)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document


@pytest.fixture
def server() -> Server:
    return Server(new_bank())


def test_a_setup_token_is_claimed_once(server: Server) -> None:
    claim_url = server.create()
    assert claim_url.startswith("http://bank/simplefin/claim/")
    access_url = (server.request("POST", claim_url)).text
    assert (server.request("POST", claim_url)).status_code == 403
    assert (server.request("POST", claim_url[:-1] + "x")).status_code == 403
    assert len((server.accounts(access_url))["connections"]) == 2


def test_access_needs_user_name_and_password_of_a_claimed_url(server: Server) -> None:
    claim_url = server.create()
    code = claim_url.rpartition("/")[2]
    answers = [
        server.request("GET", "/simplefin/accounts", params={"version": 2}),
        server.request("GET", "/simplefin/accounts", auth=(code, "x"), params={"version": 2}),
        server.request("GET", "/simplefin/accounts", auth=("x", "x"), params={"version": 2}),
    ]
    assert [each.status_code for each in answers] == [403] * 3
    assert {each.json()["errlist"][0]["code"] for each in answers} == {"gen.auth"}
    assert (server.request("GET", "/simplefin/create?user=1")).status_code == 403


def test_accounts_have_the_balances_and_transactions_of_the_truth(server: Server) -> None:
    document = server.accounts(server.link(), pending=1)
    user = User.of(server.bank, 1)
    accounts = {each["account_id"]: each for each in truth.account_rows(server.bank, user)}
    assert {each["id"] for each in document["accounts"]} == accounts.keys()
    sent = {each["id"]: each for account in document["accounts"] for each in account["transactions"]}
    expected = truth.transaction_rows(server.bank, user)
    assert sent.keys() == expected.keys()
    for account in document["accounts"]:
        assert Decimal(account["balance"]) == accounts[account["id"]]["balance"]
    for identity, row in expected.items():
        assert row is not None
        assert -Decimal(sent[identity]["amount"]) == row["amount"]
        assert (sent[identity]["posted"] == 0) is row["pending"] is sent[identity].get("pending", False)
    assert sum(bool(each.get("pending")) for each in sent.values()) > 2


def test_pending_transactions_come_only_if_asked_and_the_range_excludes_its_end(server: Server) -> None:
    access_url = server.link()
    start, end = (datetime(2026, 11, day, tzinfo=UTC) for day in (10, 12))
    epochs = {"start_date": int(start.timestamp()), "end_date": int(end.timestamp())}
    document = server.accounts(access_url, **epochs)
    posted = [each["posted"] for account in document["accounts"] for each in account["transactions"]]
    assert posted
    assert all(epochs["start_date"] <= each < epochs["end_date"] for each in posted)
    assert "transactions" not in (server.accounts(access_url, balances_only=1))["accounts"][0]


def test_a_range_of_more_than_90_days_is_capped_with_an_error_inside_a_200(server: Server) -> None:
    access_url = server.link()
    end = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp())
    fitting = server.accounts(access_url, start_date=end - 90 * 86_400, end_date=end)
    longer = server.accounts(access_url, start_date=end - 91 * 86_400, end_date=end)
    assert (fitting["errlist"], [each["code"] for each in longer["errlist"]]) == ([], ["gen.api"])
    assert fitting["accounts"] == longer["accounts"]
    answer = server.request("GET", f"{access_url}/accounts?version=2&start-date=soon")
    assert (answer.status_code, answer.json()["errlist"][0]["code"]) == (400, "gen.api")


def test_a_connection_that_needs_a_login_is_missing_and_the_other_one_is_not(server: Server) -> None:
    access_url = server.link()
    server.bank.faults.set_rates({"login_required": 1})
    broken = server.accounts(access_url)
    assert [each["code"] for each in broken["errlist"]] == ["con.auth", "con.auth"]
    assert broken["accounts"] == []
    server.bank.faults.restore_item(3)
    document = server.accounts(access_url)
    (error,) = document["errlist"]
    assert {each["conn_id"] for each in document["accounts"]} == {
        each["conn_id"] for each in document["connections"] if each["conn_id"] != error["conn_id"]
    }
    server.link()
    assert (server.accounts(access_url))["errlist"] == []


def test_an_access_that_its_user_has_disabled_is_forbidden_until_a_token_is_claimed(server: Server) -> None:
    access_url = server.link()
    server.bank.faults.set_rates({"revoked": 1})
    assert (server.request("GET", f"{access_url}/accounts")).status_code == 403
    assert (server.accounts(server.link()))["errlist"] == []


def test_more_requests_than_24_a_day_bring_a_warning_and_at_last_the_end_of_the_access(server: Server) -> None:
    access_url = server.link()
    for _ in range(REQUESTS_PER_DAY):
        assert (server.accounts(access_url, balances_only=1))["errlist"] == []
    (account, *_) = (server.accounts(access_url, balances_only=1))["accounts"]
    assert (server.accounts(access_url, balances_only=1))["errlist"][0]["code"] == "gen."
    assert (server.accounts(access_url, account=account["id"]))["errlist"] == []
    for _ in range(LEEWAY - 2):
        server.accounts(access_url, balances_only=1)
    assert (server.request("GET", f"{access_url}/accounts")).status_code == 403


def test_an_incomplete_list_says_so(server: Server) -> None:
    access_url = server.link()
    whole = server.accounts(access_url)
    server.bank.faults.set_rates({"window_shift": 1})
    short = server.accounts(access_url)
    assert {each["code"] for each in short["errlist"]} == {"act.missingdata"}
    assert {each["account_id"] for each in short["errlist"]} == {
        each["id"] for each in whole["accounts"] if each["transactions"]
    }


def test_version_1_has_texts_and_the_institution_in_each_account(server: Server) -> None:
    access_url = server.link()
    server.bank.faults.set_rates({"login_repaired": 0.3})
    document = server.accounts(access_url, version=1)
    assert set(document) == {"errors", "accounts"}
    assert all(each["org"]["sfin-url"].startswith("https://") for each in document["accounts"])


def test_changes_remember_claimed_tokens() -> None:
    written: list[object] = []
    changes = Changes(write=written.append)
    changes.record(SetupTokenClaimed("abc"))
    assert changes.is_claimed("abc")
    assert Changes([SetupTokenClaimed("abc")]).is_claimed("abc")
    assert written == [SetupTokenClaimed("abc")]
