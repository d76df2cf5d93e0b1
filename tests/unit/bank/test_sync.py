from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from dev.bank import endpoints, tokens, wire
from dev.bank.bank import Bank
from dev.bank.errors import InvalidAccountId, InvalidField
from dev.bank.requests import SyncOptions, TransactionsSync
from dev.bank.responses import TransactionsSynced
from dev.bank.tokens import TokenKind

ALL = SyncOptions()


def sync(
    bank: Bank, item: int, *, cursor: str | None = None, count: int = 500, options: SyncOptions = ALL
) -> TransactionsSynced:
    token = tokens.mint(bank.key, TokenKind.ACCESS, item)
    request = TransactionsSync(access_token=token, cursor=cursor, count=count, options=options)
    return endpoints.sync_transactions(bank, request, "request")


def drain(
    bank: Bank, item: int, *, counts: Iterator[int], cursor: str | None = None, options: SyncOptions = ALL
) -> list[TransactionsSynced]:
    pages = [sync(bank, item, cursor=cursor, count=next(counts), options=options)]
    while pages[-1].has_more:
        assert len(pages) < 300, "the feed does not end"
        pages.append(sync(bank, item, cursor=pages[-1].next_cursor, count=next(counts), options=options))
    return pages


def added(pages: list[TransactionsSynced]) -> list[wire.Transaction]:
    return list(chain.from_iterable(page.added for page in pages))


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), counts=st.lists(st.integers(1, 500), min_size=1, max_size=5))
def test_any_counts_drain_the_same_transactions(bank: Bank, item: int, counts: list[int]) -> None:
    wanted = [min(count + 20, 500) for count in counts]
    pages = drain(bank, item, counts=cycle(wanted))
    assert added(pages) == sync(bank, item).added
    assert all(len(page.added) <= count for page, count in zip(pages, cycle(wanted), strict=False))


def test_pages_of_one_drain_the_same_transactions(bank: Bank) -> None:
    young = replace(bank, opened=bank.today)
    assert added(drain(young, 1, counts=cycle([1]))) == sync(young, 1).added


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), count=st.integers(40, 500), days=st.integers(1, 30))
def test_draining_day_after_day_misses_nothing_and_repeats_nothing(
    bank: Bank, item: int, count: int, days: int
) -> None:
    later = replace(bank, today=bank.today + timedelta(days=days))
    first = drain(bank, item, counts=cycle([count]))
    then = drain(later, item, counts=cycle([count]), cursor=first[-1].next_cursor)
    everything = added(first) + added(then)
    assert everything == added(drain(later, item, counts=cycle([500])))
    assert len({each.transaction_id for each in everything}) == len(everything)


@settings(max_examples=10, deadline=None)
@given(item=st.integers(0, 2**64 - 1))
def test_a_cursor_stands_still_while_nothing_is_new(bank: Bank, item: int) -> None:
    cursor = sync(bank, item).next_cursor
    page = sync(bank, item, cursor=cursor)
    assert page.next_cursor == cursor
    assert not (page.added or page.modified or page.removed or page.has_more)


@pytest.mark.parametrize("item", range(5))
def test_balances_do_not_depend_on_the_page(bank: Bank, item: int) -> None:
    pages = drain(bank, item, counts=cycle([37]))
    at_the_end = sync(bank, item, cursor=pages[-1].next_cursor)
    assert {tuple(page.accounts) for page in (*pages, at_the_end)} == {tuple(sync(bank, item).accounts)}


def test_balances_move_by_what_is_added(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=20))
    for item in range(5):
        before = sync(bank, item)
        after = sync(later, item, cursor=before.next_cursor)
        for old, new in zip(before.accounts, after.accounts, strict=True):
            spent = sum(each.amount for each in after.added if each.account_id == old.account_id)
            assert old.balances.current is not None
            assert new.balances.current == old.balances.current + (spent if old.type == "credit" else -spent)


@pytest.mark.parametrize("start", [None, ""])
def test_null_and_empty_cursors_mean_the_beginning(bank: Bank, start: str | None) -> None:
    assert sync(bank, 1, cursor=start, count=1).added == sync(bank, 1).added[:1]


def test_a_ledger_without_events_yet_has_no_cursor(bank: Bank) -> None:
    unborn = replace(bank, today=bank.opened - timedelta(days=60))
    page = sync(unborn, 1)
    assert (page.next_cursor, page.transactions_update_status) == ("", "NOT_READY")
    assert sync(bank, 1).transactions_update_status == "HISTORICAL_UPDATE_COMPLETE"


def test_accounts_stream_apart_and_make_up_the_whole(bank: Bank) -> None:
    item = next(bank.item(number) for number in range(50) if len(bank.item(number).accounts) == 3)
    streams = [
        added(drain(bank, item.number, counts=cycle([50]), options=SyncOptions(account_id=account.account_id)))
        for account in item.accounts
    ]
    assert all(len({each.account_id for each in stream}) == 1 for stream in streams)
    everything = sync(bank, item.number).added
    assert sorted(each.transaction_id for each in chain(*streams)) == sorted(each.transaction_id for each in everything)


def test_an_unknown_account_is_refused(bank: Bank) -> None:
    other = bank.item(2).accounts[0].account_id
    with pytest.raises(InvalidAccountId):
        sync(bank, 1, options=SyncOptions(account_id=other))


def test_a_cursor_of_another_item_is_refused(bank: Bank) -> None:
    with pytest.raises(InvalidField, match="cursor not associated with access_token"):
        sync(bank, 1, cursor=sync(bank, 2).next_cursor)


def test_original_descriptions_are_sent_when_asked_for(bank: Bank) -> None:
    asked = sync(bank, 1, options=SyncOptions(include_original_description=True)).added
    assert all(each.original_description == each.name for each in asked)
    assert all(each.original_description is UNSET for each in sync(bank, 1).added)
