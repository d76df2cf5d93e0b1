"""Accounts that a snapshot no longer has, and the history of balances."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.sync.load import load
from etl.sync.logins.relink import restore_login
from etl.sync.logins.store import replaced_accounts
from etl.sync.logins.store.replaced_accounts import LinkedAccount
from etl.sync.store import status
from tests.integration.sync.pipeline import LATER, PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank, refusal
from tests.integration.sync.test_entities import account, snapshot

Rows = Callable[..., list[tuple[object, ...]]]
CLOSED = "select provider_account_id, account_id from core.accounts where closed_on is not null order by 1, 2"
A, B, C = (account(account_id=each) for each in "abc")
BAD = {**B, "balances": {"current": 1, "iso_currency_code": "???"}}


@pytest.fixture
def accounts(scripted_pipeline: Pipeline) -> Pipeline:
    """Return a pipeline of accounts."""
    scripted_pipeline.entity = replace(ACCOUNTS, provider=PLAID_ONE_RETRY)
    return scripted_pipeline


@pytest.fixture
def run(accounts: Pipeline, scripted_bank: ScriptedBank) -> Callable[..., int]:
    """Return a function that loads a snapshot of the only login, and returns its raw batch."""
    accounts.enrol("one")
    numbers = iter(range(100))

    def run(*records: dict[str, object]) -> int:
        scripted_bank.script("one", snapshot(*records))
        run_id = f"run {next(numbers)}"
        (ordinal,) = accounts.plan(run_id)
        raw_id = accounts.fetch(run_id, ordinal)
        accounts.load(raw_id)
        return raw_id

    return run


def test_an_account_that_the_snapshot_lacks_is_closed_on_the_day_of_the_observation(
    run: Callable[..., int], rows: Rows
) -> None:
    run(A, B)
    raw_id = run(A)
    ((closed_on, observed_at, batch),) = rows(
        "select closed_on, observed_at, raw_id from core.accounts where account_id = 'b'"
    )
    assert isinstance(observed_at, datetime)
    assert (closed_on, batch) == (observed_at.astimezone(UTC).date(), raw_id)
    assert rows(CLOSED) == [(1, "b")]


def test_a_closed_account_that_reappears_is_open_again(run: Callable[..., int], rows: Rows) -> None:
    run(A, B)
    run(A)
    run(A, B)
    assert rows(CLOSED) == []
    versions = "select closed_on is null from core.accounts_history where account_id = 'b' order by superseded_at"
    assert rows(versions) == [(True,), (False,)]


def test_an_empty_snapshot_closes_nothing_and_says_so(
    run: Callable[..., int], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    run(A, B)
    run()
    assert rows(CLOSED) == []
    assert "lacks 2 rows, which stay open: the snapshot is empty" in caplog.text


def test_a_rejected_record_without_an_id_closes_nothing_and_says_so(
    run: Callable[..., int], rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    run(A, B, C)
    run(A, {**B, "account_id": None})
    assert rows(CLOSED) == []
    assert "lacks 2 rows, which stay open: a rejected record may be the row" in caplog.text


def test_a_rejected_record_keeps_its_own_account_open_and_closes_others(run: Callable[..., int], rows: Rows) -> None:
    run(A, B, C)
    raw_id = run(A, BAD)
    assert rows("select raw_id, record_id from etl.rejects where closed_at is null") == [(raw_id, "b")]
    assert rows(CLOSED) == [(1, "c")]
    run(BAD)
    assert rows(CLOSED) == [(1, "a"), (1, "c")]
    run(A, B, C)
    assert rows(CLOSED) == []


def replace_account(db: Connection, account_id: str) -> None:
    """Replace an account of login 1 by one of a login that was linked later."""
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token, institution_id, state) "
        "select user_id, provider, 'later', 'x', 'ins_1', 'suspended' from core.provider_accounts"
    )
    db.execute("update core.provider_accounts set institution_id = 'ins_1'")
    db.execute("update core.accounts set persistent_id = account_id")
    later = LinkedAccount(2, "later", account_id, None, None, None, None)
    assert replaced_accounts.compare(db, [later])


def test_a_replaced_account_stays_closed_whichever_batch_has_it_until_it_is_restored(
    accounts: Pipeline, run: Callable[..., int], scripted_bank: ScriptedBank, db: Connection, rows: Rows
) -> None:
    first = run(A, B)
    accounts.plan("late")
    attempt = accounts.download("late")
    replace_account(db, "a")
    assert rows(CLOSED) == [(1, "a")]
    late = accounts.transform(accounts.store_raw("late", attempt))
    accounts.load(late)
    assert rows(CLOSED) == [(1, "a")]
    db.execute("update core.provider_accounts set state = 'active', replaced_by = null where provider_account_id = 1")
    changed = run({**A, "name": "Renamed"}, B)
    assert rows("select name, closed_on is null from core.accounts where account_id = 'a'") == [("Renamed", False)]
    counts = accounts.load(changed), accounts.replay(changed), accounts.replay(first), accounts.replay(late)
    assert rows(CLOSED) == [(1, "a")]
    assert [each.updated for each in counts[1:]] == [0, 0, 0]
    db.execute("delete from core.accounts")
    accounts.replay(changed)
    assert rows(CLOSED) == [(1, "a")]
    db.execute("update core.provider_accounts set state = 'replaced', replaced_by = 2 where provider_account_id = 1")
    restore_login(1, entities=ENTITIES, db=db)
    assert rows(CLOSED) == []
    run({**A, "name": "Renamed again"}, B)
    assert rows(CLOSED) == []


def test_an_account_that_is_replaced_or_restored_was_so_from_then_on(
    run: Callable[..., int], db: Connection, rows: Rows
) -> None:
    run(A)
    ((before,),) = rows("select clock_timestamp()")
    replace_account(db, "a")
    ((between,),) = rows("select clock_timestamp()")
    restore_login(1, entities=ENTITIES, db=db)
    known = "select account_id from core.accounts_as_of(%s)"
    assert [rows(known, instant) for instant in (before, between)] == [[("a",)], []]
    assert rows("select account_id from core.accounts_as_of(now())") == [("a",)]


def test_a_snapshot_that_is_older_than_a_loaded_one_closes_nothing_and_says_so(
    accounts: Pipeline,
    run: Callable[..., int],
    scripted_bank: ScriptedBank,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(A)
    scripted_bank.script("one", snapshot(A))
    accounts.plan("late")
    late = accounts.fetch("late")
    run(A, B)
    accounts.load(late)
    assert rows(CLOSED) == []
    assert "is older than loaded snapshots of 1 logins, and closes no row of theirs" in caplog.text


def test_a_snapshot_that_was_read_before_an_account_was_observed_does_not_close_it_and_says_so(
    accounts: Pipeline,
    run: Callable[..., int],
    scripted_bank: ScriptedBank,
    rows: Rows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted_bank.script("one", snapshot(A))
    accounts.plan("slow")
    attempt = accounts.download("slow")
    run(A, B)
    accounts.load(accounts.transform(accounts.store_raw("slow", attempt)))
    assert rows(CLOSED) == []
    assert "is older than loaded snapshots of 1 logins, and closes no row of theirs" in caplog.text


def test_only_logins_whose_snapshot_was_read_lose_accounts(
    accounts: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    first, second = accounts.enrol("first", "second")
    for token in ("first", "second"):
        scripted_bank.script(token, snapshot(A, B))
    accounts.run("all")
    scripted_bank.script("first", snapshot(A))
    scripted_bank.script("second", refusal("ITEM_ERROR", "PRODUCTS_NOT_SUPPORTED"))
    accounts.run("one of them")
    assert rows(CLOSED) == [(first, "b")]
    assert second != first


def test_replaying_an_older_snapshot_neither_closes_nor_reopens(
    accounts: Pipeline, run: Callable[..., int], rows: Rows
) -> None:
    batches = [run(A, B), run(A), run(A, C)]
    columns = "select account_id, closed_on, observed_at, raw_id from core.accounts order by 1"
    before = rows(columns)
    history = rows("select account_id, observed_at, superseded_at from core.accounts_history order by 1, 2")
    for raw_id in (*batches, *reversed(batches)):
        accounts.replay(raw_id)
        assert rows(columns) == before
    assert rows("select account_id, observed_at, superseded_at from core.accounts_history order by 1, 2") == history
    assert [(name, closed is None) for name, closed, *_ in before] == [("a", True), ("b", False), ("c", True)]


def test_replaying_the_snapshot_of_a_lost_row_closes_it_again_and_no_other(
    accounts: Pipeline, run: Callable[..., int], db: Connection, rows: Rows
) -> None:
    first = run(A, B, C)
    run(A, C)
    before = rows("select account_id, closed_on, observed_at, raw_id from core.accounts order by 1")
    db.execute("delete from core.accounts where account_id = 'b'")
    accounts.replay(first)
    assert rows("select account_id, closed_on, observed_at, raw_id from core.accounts order by 1") == before


def test_a_new_version_of_the_declaration_closes_nothing_that_is_there(
    accounts: Pipeline, run: Callable[..., int], rows: Rows
) -> None:
    batches = [run(A), run(A, B)]
    accounts.entity = replace(accounts.entity, version=99)
    for raw_id in batches:
        accounts.transform(raw_id)
        load(accounts.entity, raw_id, db=accounts.db, root=accounts.root)
    assert rows(CLOSED) == []


def test_balances_keep_their_history_with_the_time_that_the_institution_gives(
    run: Callable[..., int], rows: Rows
) -> None:
    def balance(current: float, day: int) -> dict[str, object]:
        return {
            "current": current,
            "iso_currency_code": "USD",
            "last_updated_datetime": f"2026-11-{day:02}T06:00:00Z",
        }

    run({**A, "balances": balance(10.5, 18), "persistent_account_id": "p"})
    run({**A, "balances": balance(10.5, 19), "persistent_account_id": "p"})
    run({**A, "balances": balance(7, 20), "persistent_account_id": "p"})
    run({**A, "balances": balance(7, 20), "persistent_account_id": "q"})
    columns = "balance_current::float, extract(day from balance_as_of at time zone 'utc')::int, persistent_id"
    assert rows(f"select {columns} from core.accounts_history order by superseded_at") == [
        (10.5, 18, "p"),
        (10.5, 19, "p"),
        (7.0, 20, "p"),
    ]
    assert rows(f"select {columns} from core.accounts") == [(7.0, 20, "q")]


def balances(current: int, as_of: str | None, currency: str = "USD") -> dict[str, object]:
    amounts = {"current": current, "available": current - 1, "limit": current + 1}
    return {"balances": {**amounts, "iso_currency_code": currency, "last_updated_datetime": as_of}}


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [
        (balances(1, "2026-11-19T06:00:00Z"), balances(2, "2026-11-18T06:00:00Z"), 1),
        (balances(1, "2026-11-18T06:00:00Z"), balances(2, "2026-11-19T06:00:00Z"), 2),
        (balances(1, "2026-11-19T06:00:00Z"), balances(2, "2026-11-19T06:00:00Z"), 2),
        (balances(1, "2026-11-19T06:00:00Z"), balances(2, None), 2),
        (balances(1, None), balances(2, "2026-11-18T06:00:00Z"), 2),
        (balances(1, "2999-11-19T06:00:00Z"), balances(2, "2026-11-18T06:00:00Z"), 2),
        (balances(1, "2026-11-19T06:00:00Z"), balances(2, "2026-11-18T06:00:00Z", "EUR"), 2),
    ],
    ids=[
        "older",
        "newer",
        "of the same time",
        "then unknown",
        "first unknown",
        "first in the future",
        "other currency",
    ],
)
def test_an_older_balance_in_a_later_snapshot_does_not_replace_a_newer_one_and_the_other_columns_follow_it(
    run: Callable[..., int],
    rows: Rows,
    first: dict[str, object],
    second: dict[str, object],
    current: int,
) -> None:
    run({**A, **first, "name": "first"})
    run({**A, **second, "name": "second"})
    kept = first if current == 1 else second
    columns = "name, balance_current::int, balance_available::int, balance_limit::int, to_char(balance_as_of, 'YYYY')"
    year = str(kept["balances"]["last_updated_datetime"])[:4]  # type: ignore[index]
    assert rows(f"select {columns} from core.accounts") == [
        ("second", current, current - 1, current + 1, None if year == "None" else year)
    ]


def test_an_older_balance_alone_changes_nothing(run: Callable[..., int], rows: Rows) -> None:
    first = run({**A, **balances(1, "2026-11-19T06:00:00Z")})
    run({**A, **balances(2, "2026-11-18T06:00:00Z")})
    assert rows("select balance_current::int, raw_id from core.accounts") == [(1, first)]
    assert rows("select count(*) from core.accounts_history") == [(0,)]
    assert rows("select updated, unchanged from etl.loads order by raw_id desc limit 1") == [(0, 1)]


def test_accounts_as_of_an_instant_are_those_that_were_open_then(run: Callable[..., int], rows: Rows) -> None:
    run(A, B)
    ((opened_at,),) = rows("select min(observed_at) from core.accounts")
    run(A)
    ((closed_at,),) = rows("select max(observed_at) from core.accounts")
    known = "select account_id from core.accounts_as_of(%s) order by 1"
    assert isinstance(closed_at, datetime)
    assert rows(known, opened_at) == [("a",), ("b",)]
    assert rows(known, closed_at - timedelta(microseconds=1)) == [("a",), ("b",)]
    assert rows(known, closed_at) == [("a",)]


def test_status_counts_open_accounts(run: Callable[..., int], db: Connection) -> None:
    run(A, B, C)
    run(A, C)
    assert status.entity_status(db, ACCOUNTS, as_of=datetime.now(UTC)).rows == 2


def test_a_snapshot_that_closes_nothing_logs_no_warning(
    run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    run(A, B)
    run(A, B)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_snapshot_looks_up_the_accounts_of_its_logins_and_reads_no_others(
    accounts: Pipeline, run: Callable[..., int], scripted_bank: ScriptedBank, db: Connection, rows: Rows
) -> None:
    run(A, B)
    db.execute(
        "with users as (insert into core.users (reference) select 'u' || n from generate_series(1, 3000) as n "
        "returning user_id), logins as (insert into core.provider_accounts (user_id, provider, item_id, access_token) "
        "select user_id, 'other', user_id, '' from users returning provider_account_id) "
        "insert into core.accounts (provider_account_id, account_id, observed_at, raw_id) "
        "select provider_account_id, 'x' || n, now(), 1 from logins, generate_series(1, 3) as n"
    )
    db.execute("analyze core.accounts, core.provider_accounts")
    scripted_bank.script("one", snapshot(A))
    (ordinal,) = accounts.plan("small")
    raw_id = accounts.fetch("small", ordinal)
    read = "select seq_tup_read::int from pg_stat_xact_user_tables where relid = 'core.accounts'::regclass"
    with db.transaction():
        accounts.load(raw_id)
        assert rows(read) == [(0,)]
    assert rows(CLOSED) == [(1, "b")]


@pytest.mark.parametrize("are_logins_known", [True, False], ids=["logins are stored", "only the bounds of the chunk"])
def test_a_login_that_a_later_snapshot_did_not_ask_is_loaded_from_an_earlier_one(
    scripted_pipeline: Pipeline, rows: Rows, *, are_logins_known: bool
) -> None:
    accounts = replace(scripted_pipeline, entity=ACCOUNTS, source="accounts_get")
    logins = accounts.enrol("one", "two", "three")
    first = accounts.seal_pages(*[(login, snapshot(A)) for login in logins], moves=">", run_id="first")
    asked = logins[::2]
    second = accounts.seal_pages(*[(login, snapshot(A)) for login in asked], moves=">", at=LATER, run_id="second")
    assert rows("select provider_account_ids from etl.raw_batches order by raw_id") == [(logins,), (asked,)]
    if not are_logins_known:
        accounts.db.execute("update etl.raw_batches set provider_account_ids = null")
    accounts.load(second)
    counts = accounts.load(first)
    loaded = logins if are_logins_known else asked
    assert (counts.inserted, counts.superseded) == (len(loaded) - len(asked), 3 - len(loaded) + len(asked))
    assert rows("select provider_account_id from core.accounts order by 1") == [(login,) for login in loaded]


def test_a_reject_marks_the_row_of_a_login_that_a_later_snapshot_did_not_ask(
    scripted_pipeline: Pipeline, rows: Rows
) -> None:
    accounts = replace(scripted_pipeline, entity=ACCOUNTS, source="accounts_get")
    logins = accounts.enrol("one", "two", "three")
    wrong = snapshot({**A, "balances": {"current": 1, "iso_currency_code": "???"}})
    moves = ">"
    accounts.load(accounts.seal_pages(*[(login, snapshot(A)) for login in logins], moves=moves, run_id="0"))
    late = accounts.seal_pages(*[(login, wrong) for login in logins], moves=moves, at=LATER, run_id="1")
    latest_at = LATER + timedelta(hours=1)
    accounts.load(
        accounts.seal_pages(*[(login, snapshot(A)) for login in logins[::2]], moves=moves, at=latest_at, run_id="2")
    )
    accounts.load(late)
    assert rows("select provider_account_id from core.accounts where outdated_at is not null") == [(logins[1],)]
