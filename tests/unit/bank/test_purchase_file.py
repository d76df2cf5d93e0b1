from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dev.bank.api import sandbox_endpoints, transaction_endpoints
from dev.bank.api.errors import InvalidAccessToken, InvalidField, InvalidInstitution
from dev.bank.api.requests import (
    CustomTransaction,
    PublicTokenCreateRequest,
    PublicTokenOptions,
    TransactionsCreateRequest,
    TransactionsGetRequest,
    TransactionsSyncRequest,
)
from dev.bank.api.schemas import Transaction, TransactionsSyncResponse
from dev.bank.bank import Bank
from dev.bank.changes import Changes
from dev.bank.purchases.file import PurchaseFile
from dev.bank.purchases.rows import PurchaseUnreadable
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind
from tests.unit.bank import purchases


@pytest.fixture(params=["purchases.csv", "purchases.csv.gz"])
def purchase_bank(bank: Bank, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bank]:
    file = PurchaseFile(bank.key, purchases.write(tmp_path / request.param))
    yield replace(bank, purchases=file, changes=Changes())
    file.close()


def token(bank: Bank, item: int) -> str:
    return tokens.mint(bank.key, TokenKind.ACCESS, item)


def sync(bank: Bank, item: int, *, cursor: str = "", count: int = 500) -> TransactionsSyncResponse:
    request = TransactionsSyncRequest(access_token=token(bank, item), cursor=cursor, count=count)
    return transaction_endpoints.sync_transactions(bank, request, "request")


def summary(transaction: Transaction) -> tuple[Any, ...]:
    return (transaction.posted_on.isoformat(), str(transaction.amount), transaction.iso_currency_code, transaction.name)


def test_items_are_directorates_by_name_and_no_directorate_is_an_item_too(purchase_bank: Bank) -> None:
    names = [purchase_bank.ledger(item).item.accounts[0].official_name for item in range(purchase_bank.item_count)]
    assert names == ["No directorate", "Adults", "LOCAL SERVICES"]


def test_accounts_are_the_cards_of_each_directorate(purchase_bank: Bank) -> None:
    accounts_by_item = [purchase_bank.ledger(item).item.accounts for item in range(3)]
    assert [[each.mask for each in accounts] for accounts in accounts_by_item] == [["5770"], ["5770"], ["1147", "5770"]]
    assert len({each.account_id for accounts in accounts_by_item for each in accounts}) == 4


def test_amounts_and_currencies_are_the_original_ones_by_date(purchase_bank: Bank) -> None:
    assert [summary(each) for item in range(3) for each in sync(purchase_bank, item).added] == [
        ("2014-05-05", "20.00", "HUF", ""),
        ("2014-05-05", "1999.99", "GBP", "amazon uk"),
        ("2014-04-01", "-5.00", "GBP", "shell kings 587"),
        ("2014-04-02", "72.61", "GBP", "shell kings 587"),
        ("2014-04-02", "10.50", "EUR", "cafe de paris"),
        ("2014-04-02", "72.61", "GBP", "shell kings 587"),
    ]


def test_equal_rows_are_different_purchases_of_one_merchant(purchase_bank: Bank) -> None:
    added = sync(purchase_bank, 2).added
    assert len({each.transaction_id for each in added}) == 4
    shell = {each.merchant_entity_id for each in added if each.merchant_name == "shell kings 587"}
    assert len(shell) == 1
    assert len({each.merchant_entity_id for each in added}) == 2
    assert sync(purchase_bank, 0).added[0].merchant_entity_id is None


def test_ids_depend_on_source_and_row_and_not_on_the_order_of_the_file(purchase_bank: Bank, tmp_path: Path) -> None:
    reversed_file = PurchaseFile(purchase_bank.key, purchases.write(tmp_path / "turned.csv", purchases.ROWS[::-1]))
    reversed_bank = replace(purchase_bank, purchases=reversed_file)
    assert [sync(reversed_bank, item) for item in range(3)] == [sync(purchase_bank, item) for item in range(3)]
    reversed_file.close()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_pages_of_any_size_hold_all_purchases(purchase_bank: Bank, count: int) -> None:
    pages = [sync(purchase_bank, 2, count=count)]
    while pages[-1].has_more:
        pages.append(sync(purchase_bank, 2, count=count, cursor=pages[-1].next_cursor))
    assert [each for page in pages for each in page.added] == sync(purchase_bank, 2).added
    assert sync(purchase_bank, 2, cursor=pages[-1].next_cursor).added == []


def test_a_page_lists_only_the_accounts_of_its_purchases(purchase_bank: Bank) -> None:
    assert [each.mask for each in sync(purchase_bank, 2, count=1).accounts] == ["5770"]


def test_balances_are_unknown(purchase_bank: Bank) -> None:
    (account,) = sync(purchase_bank, 0).accounts
    assert (account.balances.current, account.balances.available, account.balances.limit) == (None, None, None)


def test_purchases_appear_on_their_own_days(purchase_bank: Bank) -> None:
    early = replace(purchase_bank, today=date(2014, 4, 1))
    first = sync(early, 2)
    assert len(first.added) == 1
    assert len(sync(purchase_bank, 2, cursor=first.next_cursor).added) == 3


def test_the_list_and_the_feed_agree(purchase_bank: Bank) -> None:
    request = TransactionsGetRequest(
        access_token=token(purchase_bank, 2), start_date=date(2014, 4, 2), end_date=date(2014, 4, 2)
    )
    listed = transaction_endpoints.get_transactions(purchase_bank, request, "request")
    assert listed.total_transactions == 3
    synced = sync(purchase_bank, 2).added[1:]
    assert {each.transaction_id for each in listed.transactions} == {each.transaction_id for each in synced}


def test_transactions_may_be_created_beside_real_ones(purchase_bank: Bank) -> None:
    cursor = sync(purchase_bank, 1).next_cursor
    transaction = CustomTransaction(
        date_transacted=purchase_bank.today, date_posted=purchase_bank.today, amount=Decimal(3), description="NEW"
    )
    request = TransactionsCreateRequest(access_token=token(purchase_bank, 1), transactions=[transaction])
    sandbox_endpoints.create_transactions(purchase_bank, request, "request")
    assert [each.name for each in sync(purchase_bank, 1, cursor=cursor).added] == ["NEW"]
    assert [each.name for each in sync(purchase_bank, 1).added] == ["amazon uk", "NEW"]


def create(bank: Bank, user: str, *, institution_id: str = "ins_109508") -> str:
    options = PublicTokenOptions(override_username=user)
    request = PublicTokenCreateRequest(
        institution_id=institution_id, initial_products=["transactions"], options=options
    )
    return sandbox_endpoints.create_public_token(bank, request, "request").public_token


def test_a_numbered_user_is_an_item_of_the_file_and_any_other_a_random_one(purchase_bank: Bank) -> None:
    numbers = [
        tokens.read(purchase_bank.key, TokenKind.PUBLIC, create(purchase_bank, user))
        for user in ("user_2", "user_good")
    ]
    assert numbers[0] == 2
    assert numbers[1] in range(3)


def test_real_purchases_have_an_institution_of_their_own(purchase_bank: Bank, bank: Bank) -> None:
    own = purchase_bank.ledger(0).item.institution.institution_id
    assert create(purchase_bank, "user_1", institution_id=own) == create(purchase_bank, "user_1")
    with pytest.raises(InvalidInstitution):
        create(bank, "user_1", institution_id=own)


def test_items_that_are_not_in_the_file_are_refused(purchase_bank: Bank) -> None:
    with pytest.raises(InvalidField, match="must be user_<n> with n below 3"):
        create(purchase_bank, "user_3")
    with pytest.raises(InvalidAccessToken):
        sync(purchase_bank, 3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.xls,2,2014-04-02 00:00:00,VR,1.005,,,,x,1,y", "line 2: amount 1.005 has more than 2 places"),
        ("a.xls,2,soon,VR,1,,,,x,1,y", "line 2: Invalid isoformat string: 'soon'"),
        ("a.xls,2,2014-04-02 00:00:00,VR,much,,,,x,1,y", "line 2: .*; fix the file or serve another one"),
        ("a.xls,two,2014-04-02 00:00:00,VR,1,,,,x,1,y", "line 2: invalid literal"),
    ],
)
def test_a_row_that_is_not_a_purchase_is_named(bank: Bank, tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(PurchaseUnreadable, match=message):
        PurchaseFile(bank.key, purchases.write(tmp_path / "purchases.csv", (row,)))


def test_a_file_of_something_else_is_refused(bank: Bank, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("name,age\nx,1\n")
    with pytest.raises(PurchaseUnreadable, match="columns are missing: source_file, source_row"):
        PurchaseFile(bank.key, path)
