from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.bank.bank import Bank
from dev.bank.world.categories import SALARY, SAVINGS_TRANSFER, TRANSFER_IN
from dev.bank.world.currencies import CURRENCIES
from dev.bank.world.ledger import MAX_TRANSACTION_LIFETIME, Change, Event
from dev.bank.world.transactions import Transaction, TransactionCode


def events(bank: Bank, item: int) -> list[Event]:
    ledger = bank.ledger(item)
    return [event for _, day_events in ledger.days(ledger.first_day, bank.today) for event in day_events]


def posted(bank: Bank, item: int) -> list[Transaction]:
    return [
        event.transaction
        for event in events(bank, item)
        if event.change is Change.ADDED and not event.transaction.pending
    ]


@pytest.mark.parametrize("item", range(5))
def test_the_same_seed_gives_the_same_ledger(bank: Bank, item: int) -> None:
    same = Bank.from_seed("seed", opened_on=bank.opened_on, today=bank.today)
    assert events(same, item) == events(bank, item)


def test_another_seed_gives_another_ledger(bank: Bank) -> None:
    other = Bank.from_seed("other", opened_on=bank.opened_on, today=bank.today)
    assert events(other, 1) != events(bank, 1)


@settings(max_examples=20, deadline=None)
@given(item=st.integers(0, 2**64 - 1), days=st.integers(0, 40))
def test_a_later_day_only_appends(bank: Bank, item: int, days: int) -> None:
    later = replace(bank, today=bank.today + timedelta(days=days))
    now, then = events(bank, item), events(later, item)
    assert then[: len(now)] == now
    assert all(each.happened_on > bank.today for each in then[len(now) :])


@settings(max_examples=20, deadline=None)
@given(item=st.integers(0, 2**64 - 1), skipped=st.integers(0, 150), days=st.integers(0, 30))
def test_the_events_of_a_day_do_not_depend_on_the_first_day_read(
    bank: Bank, item: int, skipped: int, days: int
) -> None:
    ledger = bank.ledger(item)
    first = ledger.first_day + timedelta(days=skipped)
    last = first + timedelta(days=days)
    all_days = dict(ledger.days(ledger.first_day, last))
    assert dict(ledger.days(first, last)) == {day: day_events for day, day_events in all_days.items() if day >= first}


def test_ledgers_grow(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=7))
    assert all(len(events(later, item)) > len(events(bank, item)) for item in range(20))


def test_opening_earlier_does_not_change_later_transactions(bank: Bank) -> None:
    earlier = replace(bank, opened_on=bank.opened_on - timedelta(days=50))
    first_unaffected_day = bank.opened_on + MAX_TRANSACTION_LIFETIME
    now, then = (
        [each for each in posted(each_bank, 3) if each.posted_at.date() > first_unaffected_day]
        for each_bank in (bank, earlier)
    )
    assert then == now


def test_a_first_full_sync_brings_250_to_300_transactions_on_average(bank: Bank) -> None:
    assert 250 <= mean(len(posted(bank, item)) for item in range(60)) <= 300


def test_events_are_in_order_of_days(bank: Bank) -> None:
    assert all(before.happened_on <= after.happened_on for before, after in pairwise(events(bank, 4)))


def test_an_addition_is_dated_the_day_it_happens(bank: Bank) -> None:
    added = [each for each in events(bank, 4) if each.change is Change.ADDED]
    assert all(each.happened_on == each.added_on == each.transaction.posted_at.date() for each in added)


def test_a_transaction_has_at_most_one_event_a_day_each_linked_to_the_next(bank: Bank) -> None:
    events_by_id: dict[str, list[Event]] = defaultdict(list)
    for item in range(20):
        for event in events(replace(bank, today=bank.today + MAX_TRANSACTION_LIFETIME), item):
            events_by_id[event.transaction_id].append(event)
    for transaction_events in events_by_id.values():
        assert transaction_events[0].change is Change.ADDED
        assert all(each.added_on == transaction_events[0].happened_on for each in transaction_events)
        assert all(
            before.superseded_on == after.happened_on and before.happened_on < after.happened_on
            for before, after in pairwise(transaction_events)
        )
        assert transaction_events[-1].superseded_on is None or transaction_events[-1].superseded_on > bank.today
        assert transaction_events[-1].happened_on - transaction_events[0].happened_on <= MAX_TRANSACTION_LIFETIME


def test_days_differ(bank: Bank) -> None:
    names = [each.name for each in posted(bank, 4) if each.code is TransactionCode.PURCHASE]
    assert len(set(names)) > 0.9 * len(names)


def test_the_salary_comes_in_once_a_month(bank: Bank) -> None:
    paid = [each for each in posted(bank, 5) if each.category == SALARY]
    assert {each.posted_at.month for each in paid} >= {3, 4, 5}
    assert len({(each.posted_at.month, each.amount_minor) for each in paid}) == len(paid)
    assert all(each.amount_minor < 0 and each.payer for each in paid)


def test_money_that_leaves_for_savings_arrives_there_the_same_day(bank: Bank) -> None:
    sums: dict[tuple[int, date], int] = defaultdict(int)
    for item in range(30):
        for each in posted(bank, item):
            if each.category == SAVINGS_TRANSFER or (each.category == TRANSFER_IN and each.account.ordinal):
                sums[item, each.posted_at.date()] += each.amount_minor
    assert sums
    assert not any(sums.values())


def test_most_transactions_name_a_merchant_and_some_do_not(bank: Bank) -> None:
    lines = [each for item in range(20) for each in posted(bank, item)]
    assert 0.1 < sum(each.merchant is None for each in lines) / len(lines) < 0.3


def test_every_currency_occurs(bank: Bank) -> None:
    currencies = {account.currency for item in range(100) for account in bank.ledger(item).item.accounts}
    assert currencies == set(CURRENCIES)


def test_some_item_has_two_currencies(bank: Bank) -> None:
    accounts = [bank.ledger(item).item.accounts for item in range(100)]
    assert any(len({account.currency for account in item_accounts}) == 2 for item_accounts in accounts)


def test_items_have_one_to_three_accounts(bank: Bank) -> None:
    assert set(Counter(len(bank.ledger(item).item.accounts) for item in range(50))) == {1, 2, 3}


def test_a_bank_cannot_open_after_today() -> None:
    with pytest.raises(ValueError, match="opens on 2026-06-30, after its current day, 2026-06-29"):
        Bank.from_seed("seed", opened_on=date(2026, 6, 30), today=date(2026, 6, 29))
