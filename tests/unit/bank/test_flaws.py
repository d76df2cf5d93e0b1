"""Faults of single records, and what becomes of their rows."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest

from dev.bank.bank import Bank
from dev.bank.faults import Fault, Faults
from dev.bank.hostile import flaws
from dev.bank.truth import rows
from dev.bank.truth.login import KnownLedger
from dev.bank.world.ledger import Change, Event

Send = Callable[..., httpx.Response]
Record = dict[str, Any]
SYNC = "/transactions/sync"
TODAY = date(2026, 6, 29)


def set_faults(send: Send, **rates: float) -> None:
    send("/sandbox/faults", {"faults": rates}).raise_for_status()


@pytest.fixture
def records(send: Send, access_token: str) -> Callable[[str], list[Record]]:
    def read(name: str) -> list[Record]:
        page = send(SYNC, {"access_token": access_token, "count": 500}).text
        found: list[Record] = json.loads(page, parse_float=Decimal)[name]
        return found

    return read


def test_an_amount_may_be_smaller_than_any_number_that_is_not_zero(send: Send, access_token: str) -> None:
    set_faults(send, tiny_exponent=1)
    page = send(SYNC, {"access_token": access_token}).text
    assert page.count('"amount":1E-999999999') > 50


def test_noise_does_not_change_what_an_amount_means(send: Send, records: Callable[[str], list[Record]]) -> None:
    exact = {each["transaction_id"]: each["amount"] for each in records("added")}
    set_faults(send, amount_noise=1)
    noisy = {each["transaction_id"]: each["amount"] for each in records("added")}
    errors = {abs(Decimal(noisy[identity]) - exact[identity]) for identity in exact}
    assert errors == {Decimal(0), flaws.AMOUNT_NOISE}
    assert {len(str(amount)) > 40 for amount in noisy.values()} == {True, False}


def test_an_optional_field_is_bad_in_each_way(send: Send, records: Callable[[str], list[Record]]) -> None:
    set_faults(send, bad_optional_field=1)
    found = records("added")
    ways: list[Callable[[Record], bool]] = [
        lambda each: each["payment_channel"] is None,
        lambda each: str(each["datetime"]).endswith("T10:00:00"),
        lambda each: str(each["datetime"]).endswith(":60Z"),
        lambda each: each["datetime"] == "",
        lambda each: each["authorized_datetime"] == "",
        lambda each: str(each["authorized_datetime"]).endswith("T10:00:00"),
        lambda each: "T" in str(each["authorized_date"]),
        lambda each: isinstance(each["personal_finance_category"], str),
        lambda each: isinstance(each["merchant_name"], int),
        lambda each: each["name"] is None,
    ]
    assert all(any(is_bad(each) for each in found) for is_bad in ways)
    assert all(any(is_bad(each) for is_bad in ways) for each in found)
    assert len(ways) == len(flaws.FIELDS_BY_WAY)


def test_an_institution_may_send_no_payment_channel(send: Send, records: Callable[[str], list[Record]]) -> None:
    assert None not in {each["payment_channel"] for each in records("added")}
    set_faults(send, null_channel=1)
    assert {each["payment_channel"] for each in records("added")} == {None}


def test_most_records_of_a_spoiled_login_have_an_unknown_currency(
    send: Send, records: Callable[[str], list[Record]]
) -> None:
    set_faults(send, spoiled_login=1)
    found = records("added")
    assert 0.6 < sum(each["iso_currency_code"] == "ZZZ" for each in found) / len(found) < 0.8


def events(bank: Bank, item: int) -> list[Event]:
    return [event for _, day_events in KnownLedger.read(bank, item).known_days for event in day_events]


@pytest.mark.parametrize(
    ("fault", "is_struck"),
    [
        (Fault.INVALID_CORRECTION, lambda event: event.change is Change.MODIFIED),
        (Fault.BAD_POSTING, lambda event: event.change is Change.ADDED and event.pending_id is not None),
    ],
)
def test_only_a_version_of_its_kind_is_invalid(bank: Bank, fault: Fault, is_struck: Callable[[Event], bool]) -> None:
    struck_bank = replace(bank, faults=Faults({fault.value: 1, "corrected": 0.5}))
    ledger = struck_bank.ledger(3)
    for event in events(struck_bank, 3):
        is_loadable = rows.transaction_row(struck_bank, ledger.item, event) is not None
        assert is_loadable is not is_struck(event)


def test_two_versions_of_a_transaction_are_struck_separately(bank: Bank) -> None:
    struck_bank = replace(bank, faults=Faults({"invalid_correction": 0.5, "corrected": 1}))
    item = struck_bank.ledger(3).item
    loadable: dict[str, set[bool]] = {}
    for event in events(struck_bank, 3):
        if event.change is Change.MODIFIED:
            loadable.setdefault(event.transaction_id, set()).add(flaws.is_loadable(struck_bank.flaws_of(item, event)))
    assert {True, False} in loadable.values()


def test_a_balance_may_be_in_two_currencies_or_in_half_minor_units(send: Send, access_token: str) -> None:
    set_faults(send, bad_balance=1)
    found = []
    for _ in range(12):
        send("/sandbox/day", {"advance": 2})
        found += json.loads(send("/accounts/get", {"access_token": access_token}).text, parse_float=Decimal)["accounts"]
    balances = [each["balances"] for each in found]
    two = [each for each in balances if each["unofficial_currency_code"]]
    half = [each for each in balances if each["current"] is not None and str(each["current"]).endswith("5")]
    assert two
    assert all(each["iso_currency_code"] for each in two)
    assert any(each not in two for each in half)
    assert "flaws" not in found[0]


def test_a_removal_may_name_no_account_or_another_one(send: Send) -> None:
    named = {}
    for fault in ("", "removal_without_account", "removal_elsewhere"):
        set_faults(send, **({fault: 1} if fault else {}))
        for item in range(6):
            options = {"override_username": f"user_{item}"}
            fields = {"institution_id": "ins_109508", "initial_products": ["transactions"], "options": options}
            public = send("/sandbox/public_token/create", fields).json()["public_token"]
            token = send("/item/public_token/exchange", {"public_token": public}).json()["access_token"]
            named[fault, item] = _removals(send, token)
    assert {each for item in range(6) for each in named["removal_without_account", item].values()} == {None}
    assert any(named["removal_elsewhere", item] != named["", item] for item in range(6))
    assert all(named["removal_elsewhere", item].keys() == named["", item].keys() for item in range(6))


def _removals(send: Send, token: str) -> dict[str, str | None]:
    """Return the account that each removal of the feed of a reader names that reads from the middle on."""
    from dev.bank.feed import cursors, feed
    from dev.bank.world import tokens
    from dev.bank.world.tokens import TokenKind

    bank = Bank.from_seed("seed", opened_on=date(2026, 3, 1), today=date(2026, 6, 10))
    ledger = bank.ledger(tokens.read(bank.key, TokenKind.ACCESS, token))
    position = feed.end_position(ledger, feed.start_position(ledger), today=bank.today)
    cursor = cursors.seal(bank.key, cursors.Stream(ledger.item), position)
    page = send(SYNC, {"access_token": token, "cursor": cursor, "count": 500}).json()
    return {each["transaction_id"]: each.get("account_id") for each in page["removed"]}
