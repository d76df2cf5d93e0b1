from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from dev.bank.api import transaction_endpoints
from dev.bank.api.errors import InvalidAccountId, InvalidField
from dev.bank.api.requests import ListOptions, TransactionsGetRequest
from dev.bank.api.schemas import TransactionsGetResponse
from dev.bank.bank import Bank
from dev.bank.world import tokens
from dev.bank.world.ledger import Change
from dev.bank.world.tokens import TokenKind
from dev.bank.world.transactions import Transaction

FIRST, LAST = date.min, date.max


def list_transactions(
    bank: Bank,
    item: int,
    first: date = FIRST,
    last: date = LAST,
    *,
    count: int = 500,
    offset: int = 0,
    account_ids: list[str] | UnsetType = UNSET,
) -> TransactionsGetResponse:
    request = TransactionsGetRequest(
        access_token=tokens.mint(bank.key, TokenKind.ACCESS, item),
        start_date=first,
        end_date=last,
        options=ListOptions(count=count, offset=offset, account_ids=account_ids),
    )
    return transaction_endpoints.get_transactions(bank, request, "request")


def replay(bank: Bank, item: int) -> dict[str, Transaction]:
    state: dict[str, Transaction] = {}
    ledger = bank.ledger(item)
    for _, day_events in ledger.days(ledger.first_day, bank.today):
        for event in day_events:
            if event.change is Change.REMOVED:
                del state[event.transaction_id]
            else:
                state[event.transaction_id] = event.transaction
    return state


@settings(max_examples=25, deadline=None)
@given(item=st.integers(0, 2**64 - 1), ago=st.integers(0, 150), days=st.integers(0, 60))
def test_a_window_equals_the_transactions_of_its_dates_in_a_replay(bank: Bank, item: int, ago: int, days: int) -> None:
    first = bank.today - timedelta(days=ago)
    last = first + timedelta(days=days)
    expected = {key for key, each in replay(bank, item).items() if first <= each.posted_at.date() <= last}
    response = list_transactions(bank, item, first, last)
    assert {each.transaction_id for each in response.transactions} == expected
    assert response.total_transactions == len(expected)


def test_a_window_has_pending_and_enriched_transactions(bank: Bank) -> None:
    listed = [each for item in range(20) for each in list_transactions(bank, item).transactions]
    assert any(each.pending for each in listed)
    state = {key: each for item in range(20) for key, each in replay(bank, item).items()}
    assert all(each.name == state[each.transaction_id].name for each in listed)


@pytest.mark.parametrize("item", range(3))
def test_the_newest_come_first(bank: Bank, item: int) -> None:
    dates = [each.posted_on for each in list_transactions(bank, item).transactions]
    assert all(newer >= older for newer, older in pairwise(dates))


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), count=st.integers(60, 300))
def test_pages_of_any_size_make_up_the_list(bank: Bank, item: int, count: int) -> None:
    full_list = list_transactions(bank, item)
    pages = [
        list_transactions(bank, item, count=count, offset=offset)
        for offset in range(0, full_list.total_transactions + count, count)
    ]
    assert [each for page in pages for each in page.transactions] == full_list.transactions
    assert {page.total_transactions for page in pages} == {full_list.total_transactions}


def test_accounts_are_selected_by_id(bank: Bank) -> None:
    account = bank.ledger(1).item.accounts[0].account_id
    response = list_transactions(bank, 1, account_ids=[account])
    assert (
        {each.account_id for each in response.transactions}
        == {account}
        == {each.account_id for each in response.accounts}
    )
    assert response.total_transactions == len(response.transactions)
    with pytest.raises(InvalidAccountId):
        list_transactions(bank, 1, account_ids=[bank.ledger(2).item.accounts[0].account_id])


def test_a_window_that_ends_before_it_begins_is_refused(bank: Bank) -> None:
    with pytest.raises(InvalidField, match="start_date 2026-06-02 is after end_date 2026-06-01"):
        list_transactions(bank, 1, date(2026, 6, 2), date(2026, 6, 1))


def test_the_list_grows_with_the_days(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=5))
    assert list_transactions(later, 1).total_transactions > list_transactions(bank, 1).total_transactions
