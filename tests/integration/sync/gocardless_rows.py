"""Rows that are read through GoCardless, compared with the ledgers of the sandbox bank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import httpx

from dev.bank.bank import Bank
from dev.bank.gocardless.records import Ids
from dev.bank.truth import gocardless
from dev.bank.truth.gocardless import AccountTruth
from etl.catalog.entities.gocardless_transactions import GOCARDLESS_TRANSACTIONS
from etl.settings import Endpoint

Rows = Callable[..., list[tuple[Any, ...]]]
STORED = tuple(column.name for column in GOCARDLESS_TRANSACTIONS.stored_columns)


def grant(bank: Endpoint, user: int, **terms: object) -> str:
    """Return the id of a requisition of which a user has granted the accounts."""
    fields = {"secret_id": bank.login, "secret_key": bank.password, "user": f"user_{user}", **terms}
    answer = httpx.post(f"{bank.host}/gocardless/sandbox/requisition", json=fields, trust_env=False)
    requisition: str = answer.raise_for_status().json()["id"]
    return requisition


def check_user(bank: Bank, user: int, rows: Rows) -> None:
    """Compare the transactions of a user with the ledger of the bank."""
    check_transactions(gocardless.of_item(bank, user), rows)


def check_transactions(accounts: list[AccountTruth], rows: Rows) -> None:
    """Compare all live rows, what became of pending ones, and open rejects with the ledgers."""
    for account in accounts:
        live = [
            dict(zip(STORED, row, strict=True))
            for row in rows(
                f"select {', '.join(STORED)} from core.gocardless_transactions "
                "where removed_at is null and account_id = %s",
                account.account_id,
            )
        ]
        rejected = {
            record_id
            for (record_id,) in rows(
                "select r.record_id from etl.rejects as r join core.provider_accounts as p using (provider_account_id) "
                "where r.closed_at is null and r.entity = 'gocardless_transactions' and p.item_id = %s",
                account.account_id,
            )
        }
        expected, found = multiset(account, account.live), multiset(account, live, without=rejected)
        if account.ids is Ids.NONE and rejected:
            # A rejected record without an id may be any row, so that none of these ends.
            assert expected <= found
        else:
            assert found == expected
            assert len(rejected) == account.rejected
            assert sum(row["amount"] for row in live if row["transaction_id"] not in rejected) == sum(
                row["amount"]  # type: ignore[misc]
                for row in account.live
            )
        check_settled(account, rows)


def multiset(account: AccountTruth, found: list[dict[str, Any]], *, without: Collection[str] = ()) -> Counter[Any]:
    """Return rows, without the ids that the warehouse has made."""
    made = {"transaction_id"} if account.ids is Ids.NONE else set()
    return Counter(
        tuple(sorted((name, str(value)) for name, value in each.items() if name not in made))
        for each in ({**row, "amount": format(row["amount"].normalize(), "f")} for row in found)
        if each.get("transaction_id") not in without
    )


def check_settled(account: AccountTruth, rows: Rows) -> None:
    """Compare the pending rows that ended with those that were posted in their place, if only one fits."""
    if account.ids is Ids.NONE:
        return
    ended = rows(
        "select transaction_id, amount, removed_for, posted_as from core.gocardless_transactions "
        "where removed_at is not null and pending and account_id = %s",
        account.account_id,
    )
    assert {pending: posted for pending, _, _, posted in ended if posted}.items() <= account.settled.items()
    amounts = Counter(amount for _, amount, _, _ in ended)
    posted: dict[Any, Any] = dict(
        rows(
            "select transaction_id, amount from core.gocardless_transactions "
            "where not pending and removed_at is null and account_id = %s",
            account.account_id,
        )
    )
    posted_amounts = Counter(posted.values())
    for pending, amount, reason, posted_as in ended:
        is_unique = amounts[amount] == posted_amounts[amount] == 1
        if is_unique and posted.get(account.settled.get(pending)) == amount:
            assert (reason, posted_as) == ("posted", account.settled[pending])
