from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import chain, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from dev.bank.api import schemas, transaction_endpoints
from dev.bank.api.errors import InvalidAccountId, InvalidField
from dev.bank.api.requests import SyncOptions, TransactionsSyncRequest
from dev.bank.api.schemas import TransactionsSyncResponse
from dev.bank.bank import Bank
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind

ALL = SyncOptions()


def sync(
    bank: Bank, item: int, *, cursor: str | None = None, count: int = 500, options: SyncOptions = ALL
) -> TransactionsSyncResponse:
    token = tokens.mint(bank.key, TokenKind.ACCESS, item)
    request = TransactionsSyncRequest(access_token=token, cursor=cursor, count=count, options=options)
    return transaction_endpoints.sync_transactions(bank, request, "request")


def drain(
    bank: Bank, item: int, *, counts: Iterator[int], cursor: str | None = None, options: SyncOptions = ALL
) -> list[TransactionsSyncResponse]:
    pages = [sync(bank, item, cursor=cursor, count=next(counts), options=options)]
    while pages[-1].has_more:
        assert len(pages) < 300, "the feed does not end"
        pages.append(sync(bank, item, cursor=pages[-1].next_cursor, count=next(counts), options=options))
    return pages


def not_none(amount: Decimal | None) -> Decimal:
    assert amount is not None
    return amount


def added(pages: list[TransactionsSyncResponse]) -> list[schemas.Transaction]:
    return list(chain.from_iterable(page.added for page in pages))


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), counts=st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_any_counts_drain_the_same_transactions(bank: Bank, item: int, counts: list[int]) -> None:
    large_counts = [min(count + 20, 500) for count in counts]
    pages = drain(bank, item, counts=cycle(large_counts))
    assert added(pages) == sync(bank, item).added
    assert all(len(page.added) <= count for page, count in zip(pages, cycle(large_counts), strict=False))


def test_pages_of_one_drain_the_same_transactions(bank: Bank) -> None:
    young = replace(bank, opened_on=bank.today)
    assert added(drain(young, 1, counts=cycle([1]))) == sync(young, 1).added


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), count=st.integers(40, 500), days=st.integers(1, 30))
def test_draining_in_two_steps_equals_draining_at_once(bank: Bank, item: int, count: int, days: int) -> None:
    later = replace(bank, today=bank.today + timedelta(days=days))
    first = drain(bank, item, counts=cycle([count]))
    later_pages = drain(later, item, counts=cycle([count]), cursor=first[-1].next_cursor)
    state = {each.transaction_id: each for each in added(first)}
    for page in later_pages:
        state |= {each.transaction_id: each for each in (*page.added, *page.modified)}
    for removed in chain.from_iterable(page.removed for page in later_pages):
        assert state.pop(removed.transaction_id).account_id == removed.account_id
    assert state == {each.transaction_id: each for each in added(drain(later, item, counts=cycle([500])))}


def test_a_page_holds_no_more_updates_than_requested(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=30))
    first = sync(bank, 1)
    pages = drain(later, 1, counts=cycle([7]), cursor=first.next_cursor)
    sizes = [len(page.added) + len(page.modified) + len(page.removed) for page in pages]
    assert set(sizes[:-1]) == {7}
    assert any(page.removed for page in pages)


@settings(max_examples=10, deadline=None)
@given(item=st.integers(0, 2**64 - 1))
def test_a_cursor_does_not_change_without_updates(bank: Bank, item: int) -> None:
    cursor = sync(bank, item).next_cursor
    page = sync(bank, item, cursor=cursor)
    assert page.next_cursor == cursor
    assert not (page.added or page.modified or page.removed or page.has_more)


@pytest.mark.parametrize("item", range(5))
def test_balances_do_not_depend_on_the_page(bank: Bank, item: int) -> None:
    pages = drain(bank, item, counts=cycle([37]))
    at_the_end = sync(bank, item, cursor=pages[-1].next_cursor)
    assert {tuple(page.accounts) for page in (*pages, at_the_end)} == {tuple(sync(bank, item).accounts)}


def test_current_balances_change_by_posted_amounts_and_available_ones_by_pending_amounts_too(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=20))
    for item in range(5):
        before, after = sync(bank, item), sync(later, item)
        for old, new in zip(before.accounts, after.accounts, strict=True):
            posted, pending = (
                sum(
                    each.amount * sign
                    for sign, page in ((1, after), (-1, before))
                    for each in page.added
                    if each.account_id == old.account_id and each.pending is is_pending
                )
                for is_pending in (False, True)
            )
            current = not_none(new.balances.current) - not_none(old.balances.current)
            available = not_none(new.balances.available) - not_none(old.balances.available)
            assert current == (posted if old.type == "credit" else -posted)
            assert available == -posted - pending


def test_the_cursor_now_skips_all_existing_transactions(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=9))
    skipped = sync(bank, 1, cursor="now")
    assert not skipped.added
    assert not skipped.has_more
    assert sync(later, 1, cursor=skipped.next_cursor) == sync(later, 1, cursor=sync(bank, 1).next_cursor)


def test_most_pending_transactions_are_replaced_by_posted_ones_that_name_them(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=5))
    linked = total = 0
    for item in range(20):
        first = sync(bank, item)
        later_page = sync(later, item, cursor=first.next_cursor)
        pending = {each.transaction_id for each in first.added if each.pending}
        removed = {each.transaction_id for each in later_page.removed}
        assert pending <= removed
        linked += len(pending & {each.pending_transaction_id for each in later_page.added})
        total += len(pending)
    assert 0.8 * total < linked <= total


@pytest.mark.parametrize("start", [None, ""])
def test_null_and_empty_cursors_mean_the_beginning(bank: Bank, start: str | None) -> None:
    assert sync(bank, 1, cursor=start, count=1).added == sync(bank, 1).added[:1]


def test_a_ledger_without_events_yet_has_no_cursor(bank: Bank) -> None:
    early_bank = replace(bank, today=bank.opened_on - timedelta(days=60))
    page = sync(early_bank, 1)
    assert (page.next_cursor, page.transactions_update_status) == ("", "NOT_READY")
    assert sync(bank, 1).transactions_update_status == "HISTORICAL_UPDATE_COMPLETE"


def test_the_streams_of_accounts_are_separate_and_complete(bank: Bank) -> None:
    items = (bank.ledger(number).item for number in range(50))
    item = next(each for each in items if len(each.accounts) == 3)
    streams = [
        added(drain(bank, item.number, counts=cycle([50]), options=SyncOptions(account_id=account.account_id)))
        for account in item.accounts
    ]
    assert all(len({each.account_id for each in stream}) == 1 for stream in streams)
    all_transactions = sync(bank, item.number).added
    assert sorted(each.transaction_id for each in chain(*streams)) == sorted(
        each.transaction_id for each in all_transactions
    )


def test_an_unknown_account_is_refused(bank: Bank) -> None:
    other = bank.ledger(2).item.accounts[0].account_id
    with pytest.raises(InvalidAccountId):
        sync(bank, 1, options=SyncOptions(account_id=other))


def test_a_cursor_of_another_item_is_refused(bank: Bank) -> None:
    with pytest.raises(InvalidField, match="cursor not associated with access_token"):
        sync(bank, 1, cursor=sync(bank, 2).next_cursor)


def test_original_descriptions_are_sent_on_request(bank: Bank) -> None:
    transactions = sync(bank, 1, options=SyncOptions(include_original_description=True)).added
    assert all(each.original_description == each.name for each in transactions)
    assert all(each.original_description is UNSET for each in sync(bank, 1).added)
