"""What is true at the bank, held against a reader that believes everything and applies it to a dictionary."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from dev.bank.api import bad_records, endpoints, transaction_endpoints
from dev.bank.api.requests import AccountsGetRequest, TransactionsSyncRequest
from dev.bank.bank import Bank
from dev.bank.faults import Fault, Faults
from dev.bank.truth import login, merchants
from dev.bank.truth.login import POSTED, UNPOSTED, KnownLedger, LoginTruth
from dev.bank.truth.rows import Row
from dev.bank.world import tokens
from dev.bank.world.tokens import TokenKind

Record = dict[str, Any]
OPENED, TODAY = date(2022, 11, 20), date(2022, 12, 20)
LEDGER_FAULTS = {
    "long_hold": 0.2,
    "late_posting": 0.4,
    "corrected": 0.5,
    "moved_account": 0.3,
    "renamed_merchant": 0.5,
    "historical_currency": 0.3,
    "old_loan": 0.5,
    "returning_cursor": 0.5,
}
SENT_FIELDS = {
    "amount": ("amount",),
    "currency": ("iso_currency_code",),
    "unofficial_currency": ("unofficial_currency_code",),
    "dated_on": ("date",),
    "authorized_on": ("authorized_date",),
    "dated_at": ("datetime",),
    "authorized_at": ("authorized_datetime",),
    "description": ("name",),
    "category": ("personal_finance_category", "primary"),
    "category_detail": ("personal_finance_category", "detailed"),
}


def sent_field(record: Record, column: str) -> object:
    value: Any = record
    for name in SENT_FIELDS.get(column, (column,)):
        value = value[name]
    return value


def as_sent(row: Row) -> Row:
    """Return a row with the types that JSON has; numbers stay decimals."""
    sent: Row = msgspec.to_builtins(row, builtin_types=(Decimal,))
    return sent


def bank_with(rates: Mapping[str, float]) -> Bank:
    bank = Bank.from_seed("truth", opened_on=OPENED, today=TODAY)
    return replace(bank, faults=Faults(rates))


def truth_of(bank: Bank, item: int) -> LoginTruth:
    return login.of_login(bank, KnownLedger.read(bank, item))


def read(bank: Bank, item: int, cursor: str) -> Iterator[Record]:
    more = True
    while more:
        token = tokens.mint(bank.key, TokenKind.ACCESS, item)
        request = TransactionsSyncRequest(access_token=token, cursor=cursor, count=30)
        answer = transaction_endpoints.sync_transactions(bank, request, "request")
        page: Record = msgspec.to_builtins(bad_records.spoil(bank.faults, answer), builtin_types=(Decimal,))
        yield page
        cursor, more = page["next_cursor"], page["has_more"]


def follow(bank: Bank, item: int, days: tuple[int, ...]) -> tuple[Bank, dict[str, Record], str]:
    """Read an item's feed on some days; return the bank, the transactions that are left, and the last cursor."""
    held: dict[str, Record] = {}
    cursor = ""
    for passed in days:
        bank = replace(bank, today=bank.today + timedelta(days=passed))
        for page in read(bank, item, cursor):
            held |= {each["transaction_id"]: each for each in (*page["added"], *page["modified"])}
            for each in page["removed"]:
                held.pop(each["transaction_id"])
            cursor = page["next_cursor"]
    return bank, held, cursor


@pytest.mark.parametrize("item", range(8))
def test_a_reader_who_believes_everything_holds_what_is_true(item: int) -> None:
    bank, held, cursor = follow(bank_with(LEDGER_FAULTS), item, (0, 3, 1, 9, 20))
    truth = truth_of(bank, item)
    live = {identity: each.row for identity, each in truth.transactions.items() if each.is_live}
    assert held.keys() == live.keys()
    for identity, row in live.items():
        assert row is not None
        assert as_sent(row) == {column: sent_field(held[identity], column) for column in row}
    assert login.is_at_end(bank, KnownLedger.read(bank, item), cursor)


def test_a_reader_that_lags_is_not_at_the_end() -> None:
    bank, _, cursor = follow(bank_with({}), 1, (0,))
    later = replace(bank, today=bank.today + timedelta(days=9))
    assert not login.is_at_end(later, KnownLedger.read(later, 1), cursor)
    assert not login.is_at_end(later, KnownLedger.read(later, 1), "made up")


@pytest.mark.parametrize("reads_again", [True, False])
def test_only_a_read_from_the_beginning_lets_old_rows_stay_that_ended_before_it(*, reads_again: bool) -> None:
    bank, _, _ = follow(bank_with({"long_hold": 1}), 1, (0,))
    bank = replace(bank, today=bank.today + timedelta(days=40))
    if reads_again:
        list(read(bank, 1, ""))
    ended = [each for each in truth_of(bank, 1).transactions.values() if not each.is_live]
    assert {each.may_stay for each in ended if str(each.earlier_rows[0]["dated_on"]) < str(TODAY)} == {reads_again}


def test_a_pending_transaction_ends_as_posted_exactly_if_a_posted_one_replaces_it() -> None:
    bank = bank_with({"late_posting": 0.5})
    posted = defaultdict(set)
    for item in range(6):
        truths = truth_of(bank, item).transactions
        replaced = {
            row["pending_transaction_id"] for each in truths.values() if (row := each.row) and not row["pending"]
        }
        for identity, each in truths.items():
            if not each.is_live and each.earlier_rows[-1]["pending"]:
                posted[each.endings].add(identity in replaced)
    assert posted[POSTED] == {True}
    assert posted[UNPOSTED] == {False}


def test_what_cannot_be_loaded_must_be_rejected_and_keeps_its_earlier_row() -> None:
    bank = bank_with({"corrected": 1, "invalid_correction": 1})
    truths = [each for item in range(6) for each in truth_of(bank, item).transactions.values()]
    rejected = [each for each in truths if each.must_be_rejected]
    assert len(rejected) > 50
    assert all(each.earlier_rows and each.was_rejected for each in rejected)
    assert not any(each.must_be_rejected for each in truths if each.row)


def test_a_pending_transaction_does_not_end_while_its_posted_one_cannot_be_loaded() -> None:
    bank = bank_with({"bad_posting": 1})
    truths = [each for item in range(6) for each in truth_of(bank, item).transactions.values()]
    waiting = [each for each in truths if not each.is_live and not each.endings]
    assert len(waiting) == sum(each.must_be_rejected for each in truths) > 50


@pytest.mark.parametrize(
    ("fault", "column"),
    [("null_channel", "payment_channel"), ("nul_name", "description"), ("bad_optional_field", "merchant_name")],
)
def test_a_bad_optional_field_is_null_and_its_row_is_live(fault: str, column: str) -> None:
    truths = [each for item in range(6) for each in truth_of(bank_with({fault: 1}), item).transactions.values()]
    assert not any(each.was_rejected for each in truths)
    assert any(each.row and each.row[column] is None for each in truths)


def test_noise_does_not_change_the_true_amount() -> None:
    exact, noisy = (truth_of(bank_with({"amount_noise": rate}), 2).transactions for rate in (0, 1))
    assert exact == noisy


def test_the_truth_does_not_depend_on_faults_of_delivery() -> None:
    rates = {"short_history": 1, "reread_empty": 1, "wrong_environment": 1, "lost_cursor": 1, "window_shift": 1}
    assert truth_of(bank_with(rates), 3) == truth_of(bank_with({}), 3)


def test_accounts_are_as_the_bank_lists_them() -> None:
    bank = bank_with({"vanishing_account": 0.5, "bad_balance": 0.5})
    for item in range(10):
        request = AccountsGetRequest(access_token=tokens.mint(bank.key, TokenKind.ACCESS, item))
        answer = endpoints.get_accounts(bank, request, "request")
        listed = {each.account_id: each for each in answer.accounts}
        truths = truth_of(bank, item).accounts
        assert listed.keys() == {identity for identity, each in truths.items() if each.is_listed}
        for identity, sent in listed.items():
            row = truths[identity].row
            assert (row["balance_current"], row["currency"], row["mask"]) == (
                sent.balances.current,
                sent.balances.iso_currency_code,
                sent.mask,
            )
            assert truths[identity].is_loadable == (sent.flaws is msgspec.UNSET)


def test_a_merchant_is_as_its_newest_transaction_names_it() -> None:
    bank = bank_with({Fault.RENAMED_MERCHANT.value: 1})
    ledgers = [KnownLedger.read(bank, item) for item in range(6)]
    truths = merchants.of_ledgers(bank, ledgers)
    newest: dict[str, tuple[object, object]] = {}
    for ledger in ledgers:
        for each in truth_of(bank, ledger.item.number).transactions.values():
            if each.row and each.row["merchant_entity_id"]:
                identity = str(each.row["merchant_entity_id"])
                named = (each.row["dated_on"], each.row["merchant_name"])
                newest[identity] = max(newest.get(identity, named), named)
    assert newest.keys() == {identity for identity, each in truths.items() if each.must_exist}
    assert all(named[1] in {row["name"] for row in truths[identity].rows} for identity, named in newest.items())
    assert max(len({row["name"] for _, row in each.named}) for each in truths.values()) > 1
