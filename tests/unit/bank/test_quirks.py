"""Faults that change what a ledger holds."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.bank.bank import Bank
from dev.bank.changes import Changes, LinkedAgain
from dev.bank.faults import Fault, Faults
from dev.bank.hostile import quirks
from dev.bank.hostile.quirks import QUIRKS
from dev.bank.world.ledger import Change, Event

OPENED, TODAY = date(2022, 10, 1), date(2023, 1, 20)
Histories = list[list[Event]]


def bank_with(*faults: Fault, rate: float = 1, today: date = TODAY) -> Bank:
    bank = Bank.from_seed("seed", opened_on=OPENED, today=today)
    return replace(bank, faults=Faults({fault.value: rate for fault in faults}))


def histories(bank: Bank, *items: int) -> Histories:
    events: dict[str, list[Event]] = defaultdict(list)
    for item in items or range(4):
        ledger = bank.ledger(item)
        for _, day_events in ledger.days(ledger.first_day, bank.today):
            for event in day_events:
                events[event.transaction_id].append(event)
    return list(events.values())


def holds(found: Histories) -> list[timedelta]:
    return [each[1].happened_on - each[0].happened_on for each in found if each[0].transaction.pending and each[1:]]


def posting_delays(found: Histories) -> list[timedelta]:
    removals = {each[0].transaction_id: each[-1].happened_on for each in found if each[-1].change is Change.REMOVED}
    posted = [each[0] for each in found if each[0].pending_id]
    return [each.happened_on - removals[str(each.pending_id)] for each in posted]


def test_a_long_hold_lasts_30_days_and_is_posted_then() -> None:
    found = histories(bank_with(Fault.LONG_HOLD))
    assert set(holds(found)) == {quirks.HOLD}
    assert len(posting_delays(found)) > 50
    assert set(posting_delays(found)) == {timedelta()}
    assert max(holds(histories(bank_with()))) <= timedelta(days=3)


def test_a_late_posting_follows_days_after_the_removal() -> None:
    delays = set(posting_delays(histories(bank_with(Fault.LATE_POSTING))))
    assert delays == {timedelta(days=days) for days in range(1, quirks.MAX_POSTING_DELAY + 1)}
    assert set(posting_delays(histories(bank_with()))) == {timedelta()}


def test_a_posted_transaction_is_corrected_once_or_twice() -> None:
    corrected = [each for each in histories(bank_with(Fault.CORRECTED)) if each[-1].change is Change.MODIFIED]
    assert {len(each) for each in corrected} >= {2, 3}
    assert all(
        before.transaction.amount_minor < after.transaction.amount_minor
        for each in corrected
        if len(each) > 2
        for before, after in pairwise(each)
    )


def test_a_transaction_moves_to_another_account_of_its_item() -> None:
    bank = bank_with(Fault.MOVED_ACCOUNT)
    item = next(number for number in range(20) if len(bank.ledger(number).item.accounts) == 3)
    moved = [each for each in histories(bank, item) if each[-1].change is Change.MODIFIED]
    accounts = {(each[0].transaction.account.ordinal, each[-1].transaction.account.ordinal) for each in moved}
    assert any(before != after for before, after in accounts)


def test_a_merchant_has_another_name_in_each_period_and_keeps_its_id() -> None:
    names: dict[tuple[str, int], set[str]] = defaultdict(set)
    for event in (event for each in histories(bank_with(Fault.RENAMED_MERCHANT)) for event in each):
        if merchant := event.transaction.merchant:
            period = event.transaction.posted_at.date().toordinal() // quirks.NAME_PERIOD_DAYS
            names[merchant.entity_id, period].add(merchant.name)
    assert all(len(each) == 1 for each in names.values())
    assert len({identity for identity, _ in names}) < len({next(iter(each)) for each in names.values()})


def test_purchases_of_before_2023_are_in_kuna_and_later_ones_are_not() -> None:
    currencies: dict[bool, set[str]] = defaultdict(set)
    for event in (event for each in histories(bank_with(Fault.HISTORICAL_CURRENCY)) for event in each):
        if event.transaction.merchant:
            currencies[event.transaction.posted_at.date() < date(2023, 1, 1)].add(event.transaction.currency.code)
    assert currencies[True] == {"HRK"}
    assert "HRK" not in currencies[False]


def test_accounts_in_leva_are_all_of_an_item() -> None:
    bank = bank_with(Fault.BGN_ACCOUNTS)
    accounts = bank.ledger(3).item.accounts
    assert {account.currency.code for account in accounts} == {"BGN"}
    assert len(accounts) == len(bank_with().ledger(3).item.accounts)


def test_a_large_login_has_many_times_as_many_transactions() -> None:
    assert len(histories(bank_with(Fault.LARGE_LOGIN), 1)) > 20 * len(histories(bank_with(), 1))


def test_an_old_loan_is_dated_years_before_the_ledger_and_there_from_its_first_day() -> None:
    bank = bank_with(Fault.OLD_LOAN)
    first_day = bank.ledger(1).first_day
    loans = [each[0] for each in histories(bank, 1) if each[0].transaction.posted_at.date() < first_day]
    assert [(each.happened_on, each.transaction.name) for each in loans] == [(first_day, "OLD LOAN")]
    assert loans[0].transaction.posted_at.date() == first_day - quirks.LOAN_AGE


@settings(max_examples=15, deadline=None)
@given(item=st.integers(0, 2**64 - 1), skipped=st.integers(0, 100), days=st.integers(0, 20))
def test_with_quirks_too_the_events_of_a_day_do_not_depend_on_the_first_day_read(
    item: int, skipped: int, days: int
) -> None:
    ledger = bank_with(*(each for each in QUIRKS if each is not Fault.LARGE_LOGIN), rate=0.5).ledger(item)
    first = ledger.first_day + timedelta(days=skipped)
    last = first + timedelta(days=days)
    all_days = dict(ledger.days(ledger.first_day, last))
    assert dict(ledger.days(first, last)) == {day: events for day, events in all_days.items() if day >= first}


def test_with_quirks_too_a_transaction_has_at_most_one_event_a_day_each_linked_to_the_next() -> None:
    quirky = bank_with(*(each for each in QUIRKS if each is not Fault.LARGE_LOGIN), rate=0.5)
    for each in histories(quirky):
        assert each[0].change is Change.ADDED
        assert all(event.added_on == each[0].happened_on for event in each)
        assert all(
            before.superseded_on == after.happened_on and before.happened_on < after.happened_on
            for before, after in pairwise(each)
        )


@pytest.mark.parametrize("item", range(5))
def test_an_item_that_was_linked_again_has_the_same_money_under_other_ids(item: int) -> None:
    bank = replace(bank_with(Fault.CORRECTED, rate=0.5), changes=Changes([LinkedAgain(99, item)]))
    first, second = bank.ledger(item).item, bank.ledger(99).item
    assert [(a.mask, a.kind, a.currency, a.opening_balance) for a in first.accounts] == [
        (a.mask, a.kind, a.currency, a.opening_balance) for a in second.accounts
    ]
    assert not {first.item_id, *(a.account_id for a in first.accounts)} & {
        second.item_id,
        *(a.account_id for a in second.accounts),
    }
    money, ids = (
        [{get(event) for each in histories(bank, number) for event in each} for number in (item, 99)]
        for get in (
            lambda event: (event.change, event.happened_on, event.transaction.amount_minor, event.transaction.name),
            lambda event: event.transaction_id,
        )
    )
    assert money[0] == money[1]
    assert not ids[0] & ids[1]


def test_ids_persist_where_the_institution_sends_them() -> None:
    bank = replace(bank_with(), changes=Changes([LinkedAgain(1_000 + item, item) for item in range(60)]))
    persistent = [
        (old.persistent_id, new.persistent_id)
        for item in range(60)
        for old, new in zip(bank.ledger(item).item.accounts, bank.ledger(1_000 + item).item.accounts, strict=True)
    ]
    assert all(old == new for old, new in persistent)
    assert 0 < sum(old is not None for old, _ in persistent) < len(persistent) / 2
