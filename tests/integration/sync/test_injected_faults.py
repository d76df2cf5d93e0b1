"""Syncing the sandbox bank in each of its moods, and in all of them at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg.rows import dict_row

from dev.bank.faults import Fault
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.chunking import Days
from etl.errors import TransientError
from tests.integration.sync.own_bank import DAY, OwnBank
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.test_entities import run_merchants
from tests.integration.sync.test_sync import as_the_bank_has_it

Rows = Callable[..., list[tuple[object, ...]]]
USERS = 8
REASONS = {
    Fault.SERVER_ERROR: "INTERNAL_SERVER_ERROR",
    Fault.BAD_GATEWAY: "HTTP 502",
    Fault.NOT_JSON: "a page that is not the source's JSON",
    Fault.TIMEOUT: "TimeoutError",
    Fault.SLOW: "TimeoutError",
    Fault.RATE_LIMIT: "TRANSACTIONS_SYNC_LIMIT",
    Fault.RATE_LIMIT_RETRY_AFTER: "TRANSACTIONS_SYNC_LIMIT",
    Fault.TRUNCATED_BODY: "ClientPayloadError",
    Fault.CONNECTION_RESET: "ClientOSError",
    Fault.NOT_READY: "an empty cursor",
    Fault.LOGIN_REQUIRED: "ITEM_LOGIN_REQUIRED",
    Fault.REVOKED: "USER_PERMISSION_REVOKED",
}
OF_REQUESTS = dict.fromkeys([fault.value for fault in REASONS if fault is not Fault.SLOW], 0.04)
OF_ITEMS = {"not_ready": 0.15, "login_required": 0.15, "revoked": 0.15, "mutation": 0.3, "timeout": 0.01}
OF_RECORDS = dict.fromkeys(
    (
        "duplicate",
        "unknown_currency",
        "huge_amount",
        "nul_name",
        "emoji_name",
        "missing_field",
        "wrong_type",
    ),
    0.006,
)
TABLES = {
    "accounts": "select * from core.accounts",
    "transactions": "select * from core.transactions where removed_at is null",
    "merchants": "select m.* from core.merchants as m where exists (select 1 from core.transactions as t "
    "where t.merchant_entity_id = m.entity_id and t.removed_at is null)",
}
OF_THE_HISTORY = ("observed_at", "raw_id")
UNFINISHED = (
    "update core.transactions as t set removed_at = now() from etl.raw_batches as r where r.raw_id = t.raw_id "
    "and r.source = 'transactions_get' and t.pending and t.removed_at is null and not exists "
    "(select 1 from core.transactions as p where p.pending_transaction_id = t.transaction_id and p.removed_at is null)"
)
"""Ends what only a window ever saw, and what was withdrawn since without a word, as `close_pending` does later."""


@pytest.mark.parametrize("fault", REASONS, ids=lambda fault: fault.value)
def test_what_a_fault_leaves_out_has_its_reason_and_comes_whole_with_the_next_good_run(
    disturbed: Pipeline, own_bank: OwnBank, rows: Rows, fault: Fault
) -> None:
    patience = timedelta(seconds=1 if fault in (Fault.TIMEOUT, Fault.SLOW) else 10)
    disturbed.entity = replace(
        TRANSACTIONS,
        provider=replace(PLAID, retries=0, timeout=patience),
        source=replace(TRANSACTIONS_SYNC, page_size=25, limits=()),
    )
    disturbed.link(USERS)
    own_bank.set_faults({fault.value: 0.15})
    disturbed.run("disturbed")
    left_out = {account for (account,) in rows("select provider_account_id from etl.left_out")}
    drained = {account for (account,) in rows("select provider_account_id from etl.cursors where value <> ''")}
    loaded = {account for (account,) in rows("select distinct provider_account_id from core.transactions")}
    assert rows("select distinct reason from etl.left_out") == [(REASONS[fault],)]
    assert len(left_out) + len(drained) == USERS
    assert drained == loaded
    own_bank.set_faults({})
    disturbed.link(USERS)
    disturbed.run("good")
    kept = {str(key): amount for key, amount in rows("select transaction_id, amount from core.transactions")}
    assert kept == as_the_bank_has_it(disturbed)


def sync(pipeline: Pipeline, run_id: str, *, days: Days | None = None) -> None:
    """Run every entity, as three Dags do, or backfill; a chunk that cannot be reached waits for a later run."""
    provider = replace(PLAID, retries=0, timeout=timedelta(seconds=3))
    transactions = replace(
        TRANSACTIONS,
        provider=provider,
        source=replace(TRANSACTIONS_SYNC, page_size=7, limits=()),
        window=replace(TRANSACTIONS_GET, page_size=7, limits=()),
        chunk_size=4,
    )
    accounts = replace(ACCOUNTS, provider=provider, source=replace(ACCOUNTS_GET, limits=()), chunk_size=4)
    for pipeline.entity in (transactions,) if days else (transactions, accounts):
        for ordinal in pipeline.plan(run_id, days):
            with suppress(TransientError):
                pipeline.load(pipeline.fetch(run_id, ordinal))
    run_merchants(pipeline, run_id)


def table_of(pipeline: Pipeline, table: str) -> set[str]:
    with pipeline.db.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(TABLES[table].encode()).fetchall()
    return {str({name: row[name] for name in row if name not in OF_THE_HISTORY}) for row in found}


def test_a_sync_through_every_mood_ends_in_the_tables_of_one_that_met_none(
    disturbed: Pipeline, undisturbed: Pipeline, own_bank: OwnBank, rows: Rows
) -> None:
    today = DAY
    for number, days in enumerate((1, 3, 2, 5)):
        own_bank.advance_day(days)
        today += timedelta(days=days)
        own_bank.set_faults(OF_RECORDS)
        disturbed.link(USERS)
        undisturbed.link(USERS)
        sync(undisturbed, f"run {number}")
        own_bank.set_faults({**OF_RECORDS, **OF_REQUESTS, **OF_ITEMS})
        sync(disturbed, f"run {number}")
        sync(disturbed, f"backfill {number}", days=Days(today - timedelta(days=4), today))
    own_bank.advance_day(1)
    own_bank.set_faults(OF_RECORDS)
    disturbed.link(USERS)
    for pipeline in (disturbed, undisturbed):
        sync(pipeline, "good")
    unfinished = disturbed.db.execute(f"{UNFINISHED} returning t.transaction_id").fetchall()
    still_told = undisturbed.db.execute(
        "update core.transactions set removed_at = now() where transaction_id = any(%s) and removed_at is null",
        [[identifier for (identifier,) in unfinished]],
    ).rowcount
    assert still_told <= len(unfinished) < 40
    for table in TABLES:
        assert table_of(disturbed, table) ^ table_of(undisturbed, table) == set()
    assert len(rows("select distinct reason from etl.left_out")) > 6
    assert set(rows("select distinct rule from etl.rejects")) == {("iso4217",), ("nul",), ("type",)}
