"""Syncs of the sandbox bank with each injected fault, and with all of them at once."""

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
from etl.chunking import DayRange
from etl.errors import TransientError
from tests.integration.sync.own_bank import DAY, OwnBank
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.test_entities import run_merchants
from tests.integration.sync.test_sync import read_amounts_from_bank

Rows = Callable[..., list[tuple[object, ...]]]
USERS = 8
REASONS = {
    Fault.SERVER_ERROR: "INTERNAL_SERVER_ERROR",
    Fault.BAD_GATEWAY: "HTTP 502",
    Fault.NOT_JSON: "a page that is not JSON of the declared shape",
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
REQUEST_FAULTS = dict.fromkeys([fault.value for fault in REASONS if fault is not Fault.SLOW], 0.04)
ITEM_FAULTS = {"not_ready": 0.15, "login_required": 0.15, "revoked": 0.15, "mutation": 0.3, "timeout": 0.01}
RECORD_FAULTS = dict.fromkeys(
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
SHARED = (
    "t.removed_at is null and not (t.pending and exists (select 1 from etl.rejects as r where r.closed_at is null and "
    "r.entity = 'transactions' and r.provider_account_id = t.provider_account_id and r.replaces = t.transaction_id))"
)
"""Rows that both warehouses have: a hold whose posted record is rejected lives only where a run saw it in time."""
TABLES = {
    "accounts": "select a.*, a.outdated_at is not null as is_outdated from core.accounts as a",
    "transactions": f"select t.*, t.outdated_at is not null as is_outdated from core.transactions as t where {SHARED}",
    "merchants": "select m.* from core.merchants as m where exists (select 1 from core.transactions as t "
    "where t.merchant_entity_id = m.entity_id and t.removed_at is null)",
}
"""What both warehouses have alike."""
HISTORY_COLUMNS = {
    "observed_at": "each warehouse has its own requests",
    "raw_id": "likewise",
    "outdated_at": "the instant of such a request; that there is one is compared",
    "named_on": "a record that ended or was rejected since may have named it, and only one warehouse saw it in time",
}
"""Columns that differ, and why."""
NAMED_TOO_EARLY = (
    "select m.entity_id from core.merchants as m "
    "inner join core.transactions as t on t.merchant_entity_id = m.entity_id "
    f"where {SHARED} and t.dated_on > m.named_on"
)


@pytest.mark.parametrize("fault", REASONS, ids=lambda fault: fault.value)
def test_an_account_that_is_skipped_for_a_fault_has_a_reason_and_loads_fully_in_the_next_good_run(
    own_bank_pipeline: Pipeline, own_bank: OwnBank, rows: Rows, fault: Fault
) -> None:
    timeout = timedelta(seconds=1 if fault in (Fault.TIMEOUT, Fault.SLOW) else 10)
    own_bank_pipeline.entity = replace(
        TRANSACTIONS,
        provider=replace(PLAID, retries=0, timeout=timeout),
        source=replace(TRANSACTIONS_SYNC, page_size=25, limits=()),
    )
    own_bank_pipeline.link(USERS)
    own_bank.set_faults({fault.value: 0.15})
    own_bank_pipeline.run("faulty")
    skipped = {account for (account,) in rows("select provider_account_id from etl.left_out")}
    drained = {account for (account,) in rows("select provider_account_id from etl.cursors where value <> ''")}
    loaded = {account for (account,) in rows("select distinct provider_account_id from core.transactions")}
    assert rows("select distinct reason from etl.left_out") == [(REASONS[fault],)]
    assert len(skipped) + len(drained) == USERS
    assert drained == loaded
    own_bank.set_faults({})
    own_bank_pipeline.link(USERS)
    own_bank_pipeline.run("good")
    amounts = {str(key): amount for key, amount in rows("select transaction_id, amount from core.transactions")}
    assert amounts == read_amounts_from_bank(own_bank_pipeline)


def sync(pipeline: Pipeline, run_id: str, *, days: DayRange | None = None) -> None:
    """Run every entity, as three Dags do, or a backfill; leave a chunk with a transient error to a later run."""
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
        records = cursor.execute(TABLES[table].encode()).fetchall()
    return {str({name: row[name] for name in row if name not in HISTORY_COLUMNS}) for row in records}


def test_a_sync_with_every_fault_ends_in_the_same_tables_as_one_without_faults(
    own_bank_pipeline: Pipeline, reference_pipeline: Pipeline, own_bank: OwnBank, rows: Rows
) -> None:
    today = DAY
    for number, days in enumerate((1, 3, 2, 5)):
        own_bank.advance_day(days)
        today += timedelta(days=days)
        own_bank.set_faults(RECORD_FAULTS)
        own_bank_pipeline.link(USERS)
        reference_pipeline.link(USERS)
        sync(reference_pipeline, f"run {number}")
        own_bank.set_faults({**RECORD_FAULTS, **REQUEST_FAULTS, **ITEM_FAULTS})
        sync(own_bank_pipeline, f"run {number}")
        sync(own_bank_pipeline, f"backfill {number}", days=DayRange(today - timedelta(days=4), today))
    own_bank.advance_day(1)
    own_bank.set_faults(RECORD_FAULTS)
    own_bank_pipeline.link(USERS)
    for pipeline in (own_bank_pipeline, reference_pipeline):
        sync(pipeline, "good")
    for pipeline in (own_bank_pipeline, reference_pipeline):
        assert pipeline.db.execute(NAMED_TOO_EARLY.encode()).fetchall() == []
    for table in TABLES:
        assert table_of(own_bank_pipeline, table) ^ table_of(reference_pipeline, table) == set()
    assert len(rows("select distinct reason from etl.left_out")) > 6
    assert set(rows("select distinct rule from etl.rejects")) == {("iso4217",), ("type",)}
    assert set(rows("select distinct rule from etl.field_warnings")) == {("nul",)}
