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


def got(
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


def replayed(bank: Bank, item: int) -> dict[str, Transaction]:
    state: dict[str, Transaction] = {}
    ledger = bank.ledger(item)
    for _, happened in ledger.days(ledger.first_day, bank.today):
        for event in happened:
            if event.change is Change.REMOVED:
                del state[event.transaction_id]
            else:
                state[event.transaction_id] = event.transaction
    return state


@settings(max_examples=25, deadline=None)
@given(item=st.integers(0, 2**64 - 1), ago=st.integers(0, 150), days=st.integers(0, 60))
def test_a_window_holds_what_a_replay_leaves_of_its_dates(bank: Bank, item: int, ago: int, days: int) -> None:
    first = bank.today - timedelta(days=ago)
    last = first + timedelta(days=days)
    expected = {key for key, each in replayed(bank, item).items() if first <= each.posted_at.date() <= last}
    answer = got(bank, item, first, last)
    assert {each.transaction_id for each in answer.transactions} == expected
    assert answer.total_transactions == len(expected)


def test_a_window_shows_what_is_pending_and_what_was_enriched(bank: Bank) -> None:
    listed = [each for item in range(20) for each in got(bank, item).transactions]
    assert any(each.pending for each in listed)
    state = {key: each for item in range(20) for key, each in replayed(bank, item).items()}
    assert all(each.name == state[each.transaction_id].name for each in listed)


@pytest.mark.parametrize("item", range(3))
def test_the_newest_come_first(bank: Bank, item: int) -> None:
    dates = [each.posted_on for each in got(bank, item).transactions]
    assert all(newer >= older for newer, older in pairwise(dates))


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), count=st.integers(60, 300))
def test_pages_of_any_size_make_up_the_list(bank: Bank, item: int, count: int) -> None:
    whole = got(bank, item)
    pages = [
        got(bank, item, count=count, offset=offset) for offset in range(0, whole.total_transactions + count, count)
    ]
    assert [each for page in pages for each in page.transactions] == whole.transactions
    assert {page.total_transactions for page in pages} == {whole.total_transactions}


def test_accounts_may_be_asked_for_by_id(bank: Bank) -> None:
    account = bank.ledger(1).item.accounts[0].account_id
    answer = got(bank, 1, account_ids=[account])
    assert (
        {each.account_id for each in answer.transactions} == {account} == {each.account_id for each in answer.accounts}
    )
    assert answer.total_transactions == len(answer.transactions)
    with pytest.raises(InvalidAccountId):
        got(bank, 1, account_ids=[bank.ledger(2).item.accounts[0].account_id])


def test_a_window_that_ends_before_it_begins_is_refused(bank: Bank) -> None:
    with pytest.raises(InvalidField, match="start_date 2026-06-02 is after end_date 2026-06-01"):
        got(bank, 1, date(2026, 6, 2), date(2026, 6, 1))


def test_the_list_grows_with_the_days(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=5))
    assert got(later, 1).total_transactions > got(bank, 1).total_transactions
