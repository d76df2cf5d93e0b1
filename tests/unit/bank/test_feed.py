"""The feed against a naive replay, which applies every event up to a day to a dictionary."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.bank.bank import Bank
from dev.bank.changes import Changes, CreatedTransaction, TransactionsCreated
from dev.bank.feed import feed
from dev.bank.feed.feed import FeedPage, Position, Update
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.ledger import Change
from dev.bank.world.transactions import Transaction

State = dict[str, Transaction]
items = st.integers(0, 2**64 - 1)
counts = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def young_bank(bank: Bank) -> Bank:
    return replace(bank, opened_on=bank.today - timedelta(days=20))


def replay(bank: Bank, item: int, *, account: Account | None = None) -> State:
    state: State = {}
    ledger = bank.ledger(item)
    for _, day_events in ledger.days(ledger.first_day, bank.today):
        for event in day_events:
            if account is not None and event.transaction.account != account:
                continue
            if event.change is Change.REMOVED:
                del state[event.transaction_id]
            else:
                state[event.transaction_id] = event.transaction
    return state


def pages(
    bank: Bank, item: int, position: Position | None = None, *, sizes: Iterator[int], account: Account | None = None
) -> list[FeedPage]:
    ledger = bank.ledger(item)
    position = position or feed.start_position(ledger)
    pages_read = [feed.read_page(ledger, position, today=bank.today, limit=next(sizes), account=account)]
    while pages_read[-1].has_more:
        assert len(pages_read) < 2_000, "the feed does not end"
        pages_read.append(
            feed.read_page(ledger, pages_read[-1].next_position, today=bank.today, limit=next(sizes), account=account)
        )
    return pages_read


def updates(feed_pages: list[FeedPage]) -> list[Update]:
    return [update for page in feed_pages for update in page.updates]


def apply(state: State, feed_pages: list[FeedPage]) -> None:
    """Apply the updates of a loop in order, as a client must; fail if one does not fit the state."""
    for page in feed_pages:
        for update in page.updates:
            event = update.event
            if update.change is Change.REMOVED:
                assert event.transaction_id in state
                del state[event.transaction_id]
            else:
                assert (event.transaction_id in state) == (update.change is Change.MODIFIED)
                state[event.transaction_id] = event.transaction


def advance(bank: Bank, days: int) -> Bank:
    return replace(bank, today=bank.today + timedelta(days=days))


@settings(max_examples=20, deadline=None)
@given(item=items, sizes=counts, days=st.integers(0, 40))
def test_draining_in_one_loop_equals_a_replay(young_bank: Bank, item: int, sizes: list[int], days: int) -> None:
    bank = advance(young_bank, days)
    state: State = {}
    apply(state, pages(bank, item, sizes=cycle(sizes)))
    assert state == replay(bank, item)


@settings(max_examples=25, deadline=None)
@given(item=items, sizes=counts, steps=st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_draining_day_by_day_equals_a_replay(young_bank: Bank, item: int, sizes: list[int], steps: list[int]) -> None:
    state: State = {}
    position, bank = None, young_bank
    for step in steps:
        bank = advance(bank, step)
        feed_pages = pages(bank, item, position, sizes=cycle(sizes))
        apply(state, feed_pages)
        position = feed_pages[-1].next_position
        assert state == replay(bank, item)


@settings(max_examples=20, deadline=None)
@given(item=items, size=st.integers(1, 30), turns=st.lists(st.integers(0, 4), min_size=1, max_size=10))
def test_a_day_may_advance_in_the_middle_of_a_loop(young_bank: Bank, item: int, size: int, turns: list[int]) -> None:
    state: State = {}
    bank, position = young_bank, feed.start_position(young_bank.ledger(item))
    for turn in cycle(turns):
        page = feed.read_page(bank.ledger(item), position, today=bank.today, limit=size)
        apply(state, [page])
        position = page.next_position
        if not page.has_more:
            break
        if bank.today < young_bank.today + timedelta(days=30):
            bank = advance(bank, turn)
    assert state == replay(bank, item)


@settings(max_examples=20, deadline=None)
@given(item=items, sizes=counts, days=st.integers(1, 20))
def test_the_accounts_of_an_item_have_separate_streams(
    young_bank: Bank, item: int, sizes: list[int], days: int
) -> None:
    later = advance(young_bank, days)
    for account in young_bank.ledger(item).item.accounts:
        state: State = {}
        first = pages(young_bank, item, sizes=cycle(sizes), account=account)
        apply(state, first)
        apply(state, pages(later, item, first[-1].next_position, sizes=cycle(sizes), account=account))
        assert state == replay(later, item, account=account)


def test_a_first_drain_has_only_additions(bank: Bank) -> None:
    changes = {
        update.change for item in range(20) for page in pages(bank, item, sizes=cycle([500])) for update in page.updates
    }
    assert changes == {Change.ADDED}


def test_later_drains_have_every_kind_of_change(bank: Bank) -> None:
    changes = set()
    for item in range(20):
        first = pages(bank, item, sizes=cycle([500]))
        second = pages(advance(bank, 7), item, first[-1].next_position, sizes=cycle([500]))
        changes |= {update.change for update in updates(second)}
    assert changes == set(Change)


def test_transactions_added_and_removed_in_between_are_skipped(bank: Bank) -> None:
    later = advance(bank, 20)
    for item in range(10):
        first = pages(bank, item, sizes=cycle([500]))
        reported = {
            each.event.transaction_id
            for page in pages(later, item, first[-1].next_position, sizes=cycle([9]))
            for each in page.updates
        }
        existing = replay(bank, item).keys() | replay(later, item).keys()
        assert reported <= existing


def test_a_removal_and_what_replaces_it_are_sometimes_on_different_pages_of_one_loop(bank: Bank) -> None:
    orders = Counter[str]()
    for item in range(40):
        first = pages(bank, item, sizes=cycle([500]))
        second = pages(advance(bank, 3), item, first[-1].next_position, sizes=cycle([2]))
        page_of = {each.event.transaction_id: number for number, page in enumerate(second) for each in page.updates}
        for event in (each.event for each in updates(second)):
            if event.pending_id in page_of:
                removal, addition = page_of[event.pending_id], page_of[event.transaction_id]
                orders["same" if removal == addition else "before" if removal < addition else "after"] += 1
    assert min(orders["before"], orders["same"], orders["after"]) > 5


@settings(max_examples=20, deadline=None)
@given(item=items, limit=st.integers(1, 500))
def test_a_page_without_updates_does_not_move_the_position(bank: Bank, item: int, limit: int) -> None:
    position = pages(bank, item, sizes=cycle([500]))[-1].next_position
    page = feed.read_page(bank.ledger(item), position, today=bank.today, limit=limit)
    assert (page.updates, page.next_position, page.has_more) == ((), position, False)


def test_days_without_updates_do_not_move_the_position(bank: Bank) -> None:
    accounts = (account for item in range(50) for account in bank.ledger(item).item.accounts[1:2])
    account = next(each for each in accounts if each.kind is AccountKind.SAVINGS)
    item = next(item for item in range(50) if account in bank.ledger(item).item.accounts)
    position = pages(bank, item, sizes=cycle([500]), account=account)[-1].next_position
    days = [advance(bank, days).today for days in range(27)]
    feed_pages = [feed.read_page(bank.ledger(item), position, today=day, limit=9, account=account) for day in days]
    positions = [page.next_position for page in feed_pages if not page.updates]
    assert len(positions) > 1
    assert set(positions) == {position}


def test_a_position_of_a_later_day_reads_nothing(bank: Bank) -> None:
    position = pages(advance(bank, 5), 3, sizes=cycle([500]))[-1].next_position
    page = feed.read_page(bank.ledger(3), position, today=bank.today, limit=10)
    assert (page.updates, page.next_position) == ((), position)


@pytest.mark.parametrize("item", range(5))
def test_outflows_are_the_sums_of_current_transactions(bank: Bank, item: int) -> None:
    state = replay(bank, item)
    for page in pages(bank, item, sizes=cycle([37])):
        for account in bank.ledger(item).item.accounts:
            of_account = [each for each in state.values() if each.account == account]
            posted, pending = (
                sum(each.amount_minor for each in of_account if each.pending is is_pending)
                for is_pending in (False, True)
            )
            assert (page.outflows.posted[account.ordinal], page.outflows.pending[account.ordinal]) == (posted, pending)


def test_a_page_has_the_first_update_of_the_next(bank: Bank) -> None:
    feed_pages = pages(bank, 2, sizes=cycle([30]))
    assert [page.next_update for page in feed_pages[:-1]] == [page.updates[0] for page in feed_pages[1:]]
    assert feed_pages[-1].next_update is None


@settings(max_examples=25, deadline=None)
@given(item=items, cut=st.integers(1, 40), ages=st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_transactions_created_in_the_middle_of_a_loop_come_after_it(
    young_bank: Bank, item: int, cut: int, ages: list[int]
) -> None:
    bank = replace(young_bank, changes=Changes())
    state: State = {}
    first = feed.read_page(bank.ledger(item), feed.start_position(bank.ledger(item)), today=bank.today, limit=cut)
    apply(state, [first])
    position = first.next_position
    for age in ages:
        created = CreatedTransaction(bank.today, bank.today - timedelta(days=age), bank.today, 100 + age, f"made {age}")
        bank.changes.record(TransactionsCreated(item, [created]))
        feed_pages = pages(bank, item, position, sizes=cycle([cut]))
        apply(state, feed_pages)
        position = feed_pages[-1].next_position
        bank = advance(bank, age)
    apply(state, pages(bank, item, position, sizes=cycle([cut])))
    assert state == replay(bank, item)
    assert sum(each.name.startswith("made ") for each in state.values()) == len(ages)


def test_an_item_whose_ledger_has_not_begun_has_no_updates(bank: Bank) -> None:
    early_bank = replace(bank, today=date(2026, 1, 1))
    assert pages(early_bank, 1, sizes=cycle([5]))[0].updates == ()
