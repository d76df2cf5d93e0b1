"""The oracle is a naive replay: every event up to a day, one after the other, on a dictionary."""

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
def young(bank: Bank) -> Bank:
    return replace(bank, opened_on=bank.today - timedelta(days=20))


def replayed(bank: Bank, item: int, *, account: Account | None = None) -> State:
    state: State = {}
    ledger = bank.ledger(item)
    for _, happened in ledger.days(ledger.first_day, bank.today):
        for event in happened:
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
    found = [feed.read_page(ledger, position, today=bank.today, limit=next(sizes), account=account)]
    while found[-1].has_more:
        assert len(found) < 2_000, "the feed does not end"
        found.append(
            feed.read_page(ledger, found[-1].next_position, today=bank.today, limit=next(sizes), account=account)
        )
    return found


def updates(found: list[FeedPage]) -> list[Update]:
    return [update for page in found for update in page.updates]


def apply(state: State, found: list[FeedPage]) -> None:
    """Apply a loop's updates as a client must: upserts in order, removals of what it never had left alone."""
    for page in found:
        for update in page.updates:
            event = update.event
            if update.change is Change.REMOVED:
                assert event.transaction_id in state
                del state[event.transaction_id]
            else:
                assert (event.transaction_id in state) == (update.change is Change.MODIFIED)
                state[event.transaction_id] = event.transaction


def on(bank: Bank, days: int) -> Bank:
    return replace(bank, today=bank.today + timedelta(days=days))


@settings(max_examples=20, deadline=None)
@given(item=items, sizes=counts, days=st.integers(0, 40))
def test_draining_at_once_gives_what_a_replay_gives(young: Bank, item: int, sizes: list[int], days: int) -> None:
    bank = on(young, days)
    state: State = {}
    apply(state, pages(bank, item, sizes=cycle(sizes)))
    assert state == replayed(bank, item)


@settings(max_examples=25, deadline=None)
@given(item=items, sizes=counts, steps=st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_draining_day_by_day_gives_what_a_replay_gives(
    young: Bank, item: int, sizes: list[int], steps: list[int]
) -> None:
    state: State = {}
    position, bank = None, young
    for step in steps:
        bank = on(bank, step)
        found = pages(bank, item, position, sizes=cycle(sizes))
        apply(state, found)
        position = found[-1].next_position
        assert state == replayed(bank, item)


@settings(max_examples=20, deadline=None)
@given(item=items, size=st.integers(1, 30), turns=st.lists(st.integers(0, 4), min_size=1, max_size=10))
def test_days_that_turn_in_the_middle_of_a_loop_spoil_nothing(
    young: Bank, item: int, size: int, turns: list[int]
) -> None:
    state: State = {}
    bank, position = young, feed.start_position(young.ledger(item))
    for turn in cycle(turns):
        page = feed.read_page(bank.ledger(item), position, today=bank.today, limit=size)
        apply(state, [page])
        position = page.next_position
        if not page.has_more:
            break
        if bank.today < young.today + timedelta(days=30):
            bank = on(bank, turn)
    assert state == replayed(bank, item)


@settings(max_examples=20, deadline=None)
@given(item=items, sizes=counts, days=st.integers(1, 20))
def test_the_accounts_of_an_item_stream_apart(young: Bank, item: int, sizes: list[int], days: int) -> None:
    later = on(young, days)
    for account in young.ledger(item).item.accounts:
        state: State = {}
        first = pages(young, item, sizes=cycle(sizes), account=account)
        apply(state, first)
        apply(state, pages(later, item, first[-1].next_position, sizes=cycle(sizes), account=account))
        assert state == replayed(later, item, account=account)


def test_a_first_drain_tells_of_nothing_but_additions(bank: Bank) -> None:
    told = {
        update.change for item in range(20) for page in pages(bank, item, sizes=cycle([500])) for update in page.updates
    }
    assert told == {Change.ADDED}


def test_later_drains_tell_of_every_change(bank: Bank) -> None:
    told = set()
    for item in range(20):
        first = pages(bank, item, sizes=cycle([500]))
        then = pages(on(bank, 7), item, first[-1].next_position, sizes=cycle([500]))
        told |= {update.change for update in updates(then)}
    assert told == set(Change)


def test_what_came_and_went_in_between_is_not_told(bank: Bank) -> None:
    then = on(bank, 20)
    for item in range(10):
        first = pages(bank, item, sizes=cycle([500]))
        told = {
            each.event.transaction_id
            for page in pages(then, item, first[-1].next_position, sizes=cycle([9]))
            for each in page.updates
        }
        known = replayed(bank, item).keys() | replayed(then, item).keys()
        assert told <= known


def test_a_removal_and_what_replaces_it_are_sometimes_on_different_pages_of_one_loop(bank: Bank) -> None:
    orders = Counter[str]()
    for item in range(40):
        first = pages(bank, item, sizes=cycle([500]))
        then = pages(on(bank, 3), item, first[-1].next_position, sizes=cycle([2]))
        page_of = {each.event.transaction_id: number for number, page in enumerate(then) for each in page.updates}
        for event in (each.event for each in updates(then)):
            if event.pending_id in page_of:
                removal, addition = page_of[event.pending_id], page_of[event.transaction_id]
                orders["same" if removal == addition else "before" if removal < addition else "after"] += 1
    assert min(orders["before"], orders["same"], orders["after"]) > 5


@settings(max_examples=20, deadline=None)
@given(item=items, limit=st.integers(1, 500))
def test_nothing_new_moves_no_position(bank: Bank, item: int, limit: int) -> None:
    position = pages(bank, item, sizes=cycle([500]))[-1].next_position
    page = feed.read_page(bank.ledger(item), position, today=bank.today, limit=limit)
    assert (page.updates, page.next_position, page.has_more) == ((), position, False)


def test_nothing_to_tell_moves_no_position_though_days_pass(bank: Bank) -> None:
    held = (account for item in range(50) for account in bank.ledger(item).item.accounts[1:2])
    account = next(each for each in held if each.kind is AccountKind.SAVINGS)
    item = next(item for item in range(50) if account in bank.ledger(item).item.accounts)
    position = pages(bank, item, sizes=cycle([500]), account=account)[-1].next_position
    days = [on(bank, days).today for days in range(27)]
    found = [feed.read_page(bank.ledger(item), position, today=day, limit=9, account=account) for day in days]
    quiet = [page.next_position for page in found if not page.updates]
    assert len(quiet) > 1
    assert set(quiet) == {position}


def test_a_position_of_a_later_day_reads_nothing(bank: Bank) -> None:
    position = pages(on(bank, 5), 3, sizes=cycle([500]))[-1].next_position
    page = feed.read_page(bank.ledger(3), position, today=bank.today, limit=10)
    assert (page.updates, page.next_position) == ((), position)


@pytest.mark.parametrize("item", range(5))
def test_what_has_moved_is_the_sum_of_what_stands(bank: Bank, item: int) -> None:
    state = replayed(bank, item)
    for page in pages(bank, item, sizes=cycle([37])):
        for account in bank.ledger(item).item.accounts:
            own = [each for each in state.values() if each.account == account]
            posted, pending = (
                sum(each.amount_minor for each in own if each.pending is wanted) for wanted in (False, True)
            )
            assert (page.outflows.posted[account.ordinal], page.outflows.pending[account.ordinal]) == (posted, pending)


def test_the_first_update_of_the_next_page_is_known(bank: Bank) -> None:
    found = pages(bank, 2, sizes=cycle([30]))
    assert [page.next_update for page in found[:-1]] == [page.updates[0] for page in found[1:]]
    assert found[-1].next_update is None


@settings(max_examples=25, deadline=None)
@given(item=items, cut=st.integers(1, 40), made=st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_transactions_created_in_the_middle_of_a_loop_come_after_it(
    young: Bank, item: int, cut: int, made: list[int]
) -> None:
    bank = replace(young, changes=Changes())
    state: State = {}
    first = feed.read_page(bank.ledger(item), feed.start_position(bank.ledger(item)), today=bank.today, limit=cut)
    apply(state, [first])
    position = first.next_position
    for number in made:
        created = CreatedTransaction(
            bank.today, bank.today - timedelta(days=number), bank.today, 100 + number, f"made {number}"
        )
        bank.changes.record(TransactionsCreated(item, [created]))
        found = pages(bank, item, position, sizes=cycle([cut]))
        apply(state, found)
        position = found[-1].next_position
        bank = on(bank, number)
    apply(state, pages(bank, item, position, sizes=cycle([cut])))
    assert state == replayed(bank, item)
    assert sum(each.name.startswith("made ") for each in state.values()) == len(made)


def test_an_item_whose_ledger_has_not_begun_tells_nothing(bank: Bank) -> None:
    unborn = replace(bank, today=date(2026, 1, 1))
    assert pages(unborn, 1, sizes=cycle([5]))[0].updates == ()
