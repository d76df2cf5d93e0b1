"""What users of the sandbox's SimpleFIN server grant, and what the warehouse must hold of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from dev.bank.bank import Bank
from dev.bank.simplefin import account_set, truth
from dev.bank.simplefin.access import User
from etl.catalog.entities.simplefin_accounts import SIMPLEFIN_ACCOUNTS
from etl.catalog.entities.simplefin_transactions import SIMPLEFIN_TRANSACTIONS
from etl.catalog.providers.simplefin import TRANSACTIONS_LIST
from etl.declare.entity import Entity
from etl.settings import Endpoint

Rows = Callable[..., list[tuple[Any, ...]]]
Row = dict[str, Any]


def grant(bank: Endpoint, user: int) -> str:
    """Return the setup token that a user gets on the server's page."""
    answer = httpx.get(
        f"{bank.host}/simplefin/create", params={"user": user}, auth=(bank.login, bank.password), trust_env=False
    )
    return answer.raise_for_status().text


def transactions(bank: Bank, user: int, rows: Rows) -> dict[str, Row]:
    """Return the live transactions of a user in the warehouse, by id."""
    found = _rows(SIMPLEFIN_TRANSACTIONS, bank, user, rows, "and removed_at is null")
    return {row["transaction_id"]: row for row in found}


def accounts(bank: Bank, user: int, rows: Rows) -> dict[str, Row]:
    """Return the accounts of a user in the warehouse, by id."""
    return {row["account_id"]: row for row in _rows(SIMPLEFIN_ACCOUNTS, bank, user, rows)}


def check_accounts(bank: Bank, user: int, rows: Rows) -> None:
    """Fail unless the warehouse holds the accounts of a user as the bank has them today."""
    expected = truth.account_rows(bank, User.of(bank, user))
    assert accounts(bank, user, rows) == {row["account_id"]: row for row in expected}


def check_transactions(bank: Bank, user: int, rows: Rows) -> None:
    """Fail unless the warehouse holds rows and sums of a user as the bank has them today, and links that are right."""
    first = datetime.now(UTC).date() - timedelta(days=(TRANSACTIONS_LIST.first_days or 0) - 1)
    expected: dict[str, Row] = {
        identity: row
        for identity, row in truth.transaction_rows(bank, User.of(bank, user)).items()
        if row is not None and (row["pending"] or str(row["dated_on"]) >= str(first))
    }
    live = transactions(bank, user, rows)
    assert live.keys() == expected.keys()
    assert live == expected
    assert _sums(live.values()) == _sums(expected.values()) != {}
    _check_links(bank, user, rows, live)


def _check_links(bank: Bank, user: int, rows: Rows, live: Mapping[str, Row]) -> None:
    """Fail unless a pending row that was posted is linked to what it became, and to nothing else where two rows fit."""
    settled = truth.settled(bank, User.of(bank, user))
    known = rows(
        "select transaction_id, account_id, amount, pending, removed_for, posted_as from core.simplefin_transactions "
        "where connection_id = any(%s)",
        _connections(bank, user),
    )
    twins = Counter((account, amount, pending) for _, account, amount, pending, *_ in known)
    for identity, account, amount, is_pending, removed_for, posted_as in known:
        if not is_pending or removed_for is None:
            continue
        posted = live.get(settled.get(identity, ""))
        if removed_for == "posted":
            assert posted_as.endswith(settled[identity])
        elif posted and posted["amount"] == amount:
            assert twins[account, amount, False] > 1 or twins[account, amount, True] > 1, identity


def _rows(entity: Entity, bank: Bank, user: int, rows: Rows, condition: str = "") -> list[Row]:
    columns = [column.name for column in entity.stored_columns]
    query = f"select {', '.join(columns)} from core.{entity.name} where connection_id = any(%s) {condition}"
    return [dict(zip(columns, row, strict=True)) for row in rows(query, _connections(bank, user))]


def _connections(bank: Bank, user: int) -> list[str]:
    return [account_set.connection_of(bank.ledger(item))["conn_id"] for item in User.of(bank, user).items]


def _sums(rows: Iterable[Row] | Collection[Row]) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["currency"]] += row["amount"]
    return dict(sums)
