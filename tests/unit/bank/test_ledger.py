from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.bank.bank import Bank
from dev.bank.categories import FROM_ACCOUNT, SALARY, TO_SAVINGS
from dev.bank.currencies import CURRENCIES
from dev.bank.ledger import Page
from dev.bank.transactions import Code, Transaction

EVERYTHING = 1_000_000


def whole(bank: Bank, item: int) -> Page:
    customer = bank.item(item)
    return bank.read(customer, bank.beginning(customer), limit=EVERYTHING)


def transactions(bank: Bank, item: int) -> list[Transaction]:
    return [event.transaction for event in whole(bank, item).events]


@pytest.mark.parametrize("item", range(5))
def test_the_same_seed_gives_the_same_ledger(bank: Bank, item: int) -> None:
    again = Bank.found("seed", opened=bank.opened, today=bank.today)
    assert transactions(again, item) == transactions(bank, item)


def test_another_seed_gives_another_ledger(bank: Bank) -> None:
    other = Bank.found("other", opened=bank.opened, today=bank.today)
    assert transactions(other, 1) != transactions(bank, 1)


@settings(max_examples=20, deadline=None)
@given(item=st.integers(0, 2**64 - 1), days=st.integers(0, 40))
def test_a_later_day_only_appends(bank: Bank, item: int, days: int) -> None:
    later = replace(bank, today=bank.today + timedelta(days=days))
    now, then = transactions(bank, item), transactions(later, item)
    assert then[: len(now)] == now
    assert all(each.made_on > bank.today for each in then[len(now) :])


def test_ledgers_do_grow(bank: Bank) -> None:
    later = replace(bank, today=bank.today + timedelta(days=7))
    assert all(len(transactions(later, item)) > len(transactions(bank, item)) for item in range(20))


def test_opening_earlier_changes_no_later_transaction(bank: Bank) -> None:
    earlier = replace(bank, opened=bank.opened - timedelta(days=50))
    now = transactions(bank, 3)
    assert transactions(earlier, 3)[-len(now) :] == now


def test_a_first_full_sync_brings_250_to_300_transactions_on_average(bank: Bank) -> None:
    assert 250 <= mean(len(whole(bank, item).events) for item in range(60)) <= 300


def test_days_never_go_back(bank: Bank) -> None:
    assert all(before.made_on <= after.made_on for before, after in pairwise(transactions(bank, 4)))


def test_no_two_days_are_alike(bank: Bank) -> None:
    names = [each.name for each in transactions(bank, 4) if each.code is Code.PURCHASE]
    assert len(set(names)) > 0.9 * len(names)


def test_the_salary_comes_in_once_a_month(bank: Bank) -> None:
    paid = [each for each in transactions(bank, 5) if each.category == SALARY]
    assert {each.made_on.month for each in paid} >= {3, 4, 5}
    assert len({(each.made_on.month, each.minor) for each in paid}) == len(paid)
    assert all(each.minor < 0 and each.payer for each in paid)


def test_money_that_leaves_for_savings_arrives_there_the_same_day(bank: Bank) -> None:
    sums: dict[tuple[int, date], int] = defaultdict(int)
    for item in range(30):
        for each in transactions(bank, item):
            if each.category == TO_SAVINGS or (each.category == FROM_ACCOUNT and each.account.ordinal):
                sums[item, each.made_on] += each.minor
    assert sums
    assert not any(sums.values())


def test_some_lines_name_no_merchant_and_most_do(bank: Bank) -> None:
    lines = [each for item in range(20) for each in transactions(bank, item)]
    assert 0.1 < sum(each.merchant is None for each in lines) / len(lines) < 0.25


def test_every_currency_is_met(bank: Bank) -> None:
    met = {account.currency for item in range(100) for account in bank.item(item).accounts}
    assert met == set(CURRENCIES)


def test_some_item_has_two_currencies(bank: Bank) -> None:
    assert any(len({account.currency for account in bank.item(item).accounts}) == 2 for item in range(100))


def test_items_have_one_to_three_accounts(bank: Bank) -> None:
    assert {len(bank.item(item).accounts) for item in range(50)} == {1, 2, 3}


@pytest.mark.parametrize("item", range(5))
def test_what_an_account_holds_is_its_opening_and_what_moved(bank: Bank, item: int) -> None:
    page = whole(bank, item)
    for account in bank.item(item).accounts:
        moved = sum(event.moved for event in page.events if event.transaction.account == account)
        owed_or_held = account.opening + (moved if account.limit is not None else -moved)
        assert account.current(page.moved[account.ordinal]) == owed_or_held


def test_a_bank_cannot_open_after_today() -> None:
    with pytest.raises(ValueError, match="opens on 2026-06-30, after its today, 2026-06-29"):
        Bank.found("seed", opened=date(2026, 6, 30), today=date(2026, 6, 29))
