"""Logins of which a later one has some accounts only, and the locks that linking, restoring and loading need."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.sync.logins.relink import restore_login
from etl.sync.logins.store import provider_accounts, replaced_accounts
from etl.sync.logins.store.login_state import LoginState
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_entities import account, snapshot
from tests.integration.sync.test_relink import CHECKING, LIVE, SAVINGS, TODAY, days, link, load
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
STATES = "select provider_account_id, state, replaced_by from core.provider_accounts order by 1"
OPEN = "select account_id from core.accounts where closed_on is null order by 1"
CURSOR = "select 1 from etl.cursors where provider_account_id = %s for update nowait"
WAITING = "select 1 from pg_locks where not granted"


def seal_one(pipeline: Pipeline, login: int, item: str, *, amount: int = 1, moves: str = ">a") -> int:
    """Seal a batch with a transaction of today."""
    record = transaction(transaction_id=f"{item} 0", account_id=f"{item} checking", date=str(TODAY), amount=amount)
    return pipeline.seal_pages((login, page(added=[record])), run_id=f"{item} {moves}", moves=moves, at=LATER)


def test_a_login_with_an_open_account_that_no_later_login_has_is_synced_further(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    load(pipeline, old, "old", (TODAY, 1))
    new = link(pipeline, "new", CHECKING)
    assert rows(STATES) == [(old, "active", None), (new, "active", None)]
    assert rows(OPEN) == [("new checking",), ("old savings",)]
    load(pipeline, new, "new", (TODAY, 1))
    load(pipeline, old, "old", (TODAY, 1))
    assert rows(LIVE) == [(new, "new 0")]
    savings = transaction(transaction_id="saved", account_id="old savings", date=str(TODAY))
    pipeline.load(pipeline.seal_pages((old, page(added=[savings])), run_id="saved", moves="xx>y", at=LATER))
    assert rows(LIVE) == [(old, "saved"), (new, "new 0")]


def test_a_login_is_replaced_once_later_logins_have_all_its_open_accounts(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    first = link(pipeline, "first", CHECKING)
    second = link(pipeline, "second", SAVINGS)
    assert rows(STATES) == [(old, "replaced", second), (first, "active", None), (second, "active", None)]


def test_an_account_that_the_bank_has_closed_does_not_keep_its_login_from_being_replaced(
    pipeline: Pipeline, rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    pipeline.db.execute("update core.accounts set closed_on = '2026-10-01' where account_id = 'old savings'")
    new = link(pipeline, "new", CHECKING)
    assert rows(STATES) == [(old, "replaced", new), (new, "active", None)]


def test_a_partial_replacement_can_be_undone(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    load(pipeline, old, "old", (TODAY, 1))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (TODAY, 1))
    assert restore_login(old, entities=ENTITIES, db=pipeline.db) is LoginState.ACTIVE
    assert rows(LIVE) == [(old, "old 0"), (new, "new 0")]
    assert rows(OPEN) == [("new checking",), ("old checking",), ("old savings",)]
    assert restore_login(old, entities=ENTITIES, db=pipeline.db) is None


def test_a_partly_replaced_login_that_is_linked_again_itself_has_all_its_accounts(
    pipeline: Pipeline, rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    load(pipeline, old, "old", (TODAY, 1))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", (TODAY, 1))
    link(pipeline, "old", CHECKING, SAVINGS)
    assert rows(STATES) == [(old, "active", None), (new, "replaced", old)]
    assert rows(OPEN) == [("old checking",), ("old savings",)]
    load(pipeline, old, "old", (TODAY, 1), whole=True)
    assert rows(LIVE) == [(old, "old 0")]


@pytest.mark.parametrize("again", [False, True], ids=["restored", "linked again"])
def test_an_account_that_the_bank_had_closed_before_its_login_was_replaced_stays_closed(
    pipeline: Pipeline, rows: Rows, *, again: bool
) -> None:
    old = link(pipeline, "old", CHECKING, SAVINGS)
    pipeline.db.execute("update core.accounts set closed_on = '2026-10-01' where account_id = 'old savings'")
    link(pipeline, "new", CHECKING, SAVINGS)
    link(pipeline, "newer", CHECKING, SAVINGS)
    if again:
        provider_accounts.enrol(
            pipeline.db, pipeline.cipher, provider="plaid", user="ada", item_id="old", access_token="again"
        )
    else:
        restore_login(old, entities=ENTITIES, db=pipeline.db)
    closed = "select account_id from core.accounts where provider_account_id = %s and closed_on is not null"
    assert rows(closed, old) == [("old savings",)]


def test_restoring_a_login_waits_for_the_load_that_ends_its_rows_and_brings_them_back(
    pipeline: Pipeline, connect: Callable[[], Connection], rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY, 1))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new")
    raw_id = seal_one(pipeline, new, "new", moves="x>y")
    other = connect()
    with ThreadPoolExecutor(1) as threads:
        with pipeline.db.transaction():
            pipeline.load(raw_id)
            restored = threads.submit(restore_login, old, entities=ENTITIES, db=other)
            while not rows(WAITING):
                assert not restored.done()
        assert restored.result(timeout=60) is LoginState.ACTIVE
    assert rows(LIVE) == [(old, "old 0"), (new, "new 0")]


def test_rows_that_ended_after_a_replacement_was_undone_come_back_when_it_is_undone_once_more(
    pipeline: Pipeline, rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY, 1))
    link(pipeline, "new", CHECKING)
    restore_login(old, entities=ENTITIES, db=pipeline.db)
    pipeline.db.execute("update core.transactions set removed_at = now(), removed_for = 'replaced'")
    assert restore_login(old, entities=ENTITIES, db=pipeline.db) is LoginState.ACTIVE
    assert rows(LIVE) == [(old, "old 0")]


def test_a_login_is_compared_only_when_no_load_writes_its_rows(
    pipeline: Pipeline, connect: Callable[[], Connection], rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", (TODAY, 1))
    new = link(pipeline, "new", SAVINGS)
    raw_id = seal_one(pipeline, old, "old", moves="x>y", amount=2)
    other = connect()
    accounts = [replace(CHECKING, provider_account_id=new, account_id="new checking")]
    with ThreadPoolExecutor(1) as threads:
        with pipeline.db.transaction():
            pipeline.load(raw_id)
            comparison = threads.submit(replaced_accounts.compare, other, accounts)
            while not rows(WAITING):
                assert not comparison.done()
        assert len(comparison.result(timeout=60)) == 1


@pytest.mark.parametrize("loaded", ["old", "new"])
def test_a_load_locks_the_logins_that_its_logins_replace_and_those_that_replace_them(
    pipeline: Pipeline, connect: Callable[[], Connection], loaded: str
) -> None:
    logins = {"old": link(pipeline, "old", CHECKING)}
    load(pipeline, logins["old"], "old", (TODAY, 1))
    logins["new"] = link(pipeline, "new", CHECKING)
    load(pipeline, logins["new"], "new", (TODAY, 1))
    raw_id = seal_one(pipeline, logins[loaded], loaded, moves="x>y", amount=2)
    other = connect()
    with pipeline.db.transaction():
        pipeline.load(raw_id)
        for login in logins.values():
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(CURSOR, (login,))


def test_accounts_that_are_to_be_compared_are_loaded_only_after_whoever_links_their_users_other_logins(
    pipeline: Pipeline, connect: Callable[[], Connection], rows: Rows
) -> None:
    old = link(pipeline, "old", CHECKING)
    accounts = replace(pipeline, entity=ACCOUNTS, source="accounts_get")
    body = snapshot({**account(account_id="old checking"), "mask": "0001"})
    raw_id = accounts.seal_pages((old, body), run_id="accounts", moves=">", at=FIRST)
    other = connect()
    with ThreadPoolExecutor(1) as threads:
        with pipeline.db.transaction():
            link(pipeline, "new", SAVINGS)
            loading = threads.submit(accounts.load, raw_id, db=other)
            while not rows(WAITING):
                assert not loading.done()
            rows("select 1 from core.accounts where account_id = 'old checking' for update nowait")
        loading.result(timeout=60)


def test_an_account_and_a_row_that_are_replaced_were_so_from_then_on(pipeline: Pipeline, rows: Rows) -> None:
    old = link(pipeline, "old", CHECKING)
    load(pipeline, old, "old", *days(1, 2))
    new = link(pipeline, "new", CHECKING)
    load(pipeline, new, "new", *days(1, 2))
    for table in ("transactions", "accounts"):
        versions = rows(f"select observed_at < superseded_at from core.{table}_history")
        assert set(versions) == {(True,)}
