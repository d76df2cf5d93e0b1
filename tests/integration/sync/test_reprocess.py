"""Reprocessing a batch: rows get their current values, and a dry run reports every change."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection
from etl.declare.check import MaxLength
from etl.declare.entity import Entity
from etl.sync import reprocess
from etl.sync.replay import replay, start_dry_run
from etl.sync.store import before_image, raw_batches
from etl.sync.transform import transform
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.test_load import KEY
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
Connect = Callable[[], Connection]
COLUMNS = TRANSACTIONS.columns
LONG = "new" + 1_000 * "."
"""An id that is too long for the declaration, and to identify a reject."""
REMOVALS = "select transaction_id, removed_for from core.transactions order by 1"


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def strict(entity: Entity) -> Entity:
    """Return an entity that rejects all but very short descriptions."""
    columns = (replace(column, required=True) if column.name == "description" else column for column in entity.columns)
    return replace(entity, columns=tuple(columns), checks=(MaxLength("description", 3),))


def dated(identifier: str, date: str, **fields: object) -> dict[str, object]:
    return transaction(transaction_id=identifier, date=date, **fields)


def load_full_read_with_a_reject(pipeline: Pipeline, account: int) -> int:
    """Load an account, then a full read that lacks one row and has a reject without an id; return the second batch."""
    both = [dated("gone", "2026-11-02"), dated("kept", "2026-11-01")]
    pipeline.load(pipeline.seal_pages((account, page(added=both)), moves=">a"))
    body = page(added=[dated("kept", "2026-11-01"), dated(LONG, "2026-11-20")])
    full_read = pipeline.seal_pages((account, body), moves="a>b", at=LATER, whole=True)
    pipeline.load(full_read)
    columns = (replace(each, max_length=len(LONG)) if each.name == "transaction_id" else each for each in COLUMNS)
    pipeline.entity = replace(pipeline.entity, columns=tuple(columns))
    return full_read


def load_days(pipeline: Pipeline, account: int, name: str, *hours: int) -> list[int]:
    """Load a batch for each hour, in which the same transaction has another amount; return their ids."""
    raw_ids = []
    for hour in hours:
        body = page(added=[dated(name, "2026-11-20", amount=hour + 1)])
        ((value,),) = pipeline.db.execute(
            "select coalesce(max(c.value), '') from etl.cursors as c where c.provider_account_id = %s", (account,)
        ).fetchall()
        raw_ids.append(
            pipeline.seal_pages(
                (account, body),
                moves=f"{value}>{value}a",
                at=FIRST + timedelta(hours=hour),
                run_id=f"hour {hour}",
            )
        )
        pipeline.load(raw_ids[-1])
    return raw_ids


def keys(changed: Collection[before_image.RowChange]) -> list[object]:
    return [change.key["transaction_id"] for change in changed]


def test_a_record_that_is_valid_in_a_new_version_is_restored_with_its_removal_when_tasks_are_cleared(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    declared = pipeline.entity
    pipeline.entity = strict(declared)
    first = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    pipeline.load(first)
    pipeline.load(pipeline.seal_pages((account, page(removed=[KEY])), moves="a>b", at=LATER))
    pipeline.entity = replace(declared, version=declared.version + 1)
    pipeline.load(pipeline.transform(first))
    assert rows("select removed_at from core.transactions") == [(LATER,)]


def test_a_column_that_an_old_batch_restores_has_the_value_of_the_latest_batch(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(check_number="1")])), moves=">a")
    pipeline.load(first)
    body = page(modified=[transaction(check_number="2")])
    pipeline.load(pipeline.seal_pages((account, body), moves="a>b", at=LATER))
    columns = tuple(
        replace(column, path="check_number") if column.name == "description" else column
        for column in pipeline.entity.columns
    )
    pipeline.entity = replace(pipeline.entity, columns=columns, version=pipeline.entity.version + 1)
    pipeline.replay(first)
    assert rows("select description from core.transactions") == [("2",)]


def test_a_later_batch_that_is_excepted_is_not_merged(pipeline: Pipeline, rows: Rows, account: int) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a")
    pipeline.load(first)
    second = pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="a>b", at=LATER)
    pipeline.load(second)
    pipeline.db.execute("delete from core.transactions")
    replay(pipeline.entity, first, db=pipeline.db, root=pipeline.root, except_batches={second})
    assert rows("select amount::int from core.transactions") == [(1,)]
    pipeline.replay(second)
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_concurrent_transforms_of_a_batch_count_its_bad_fields_once(
    pipeline: Pipeline, rows: Rows, account: int, connect: Connect
) -> None:
    records = [transaction(transaction_id=f"t{number}", datetime="") for number in range(5)]
    raw_id = pipeline.seal_pages((account, page(added=records)))
    with ThreadPoolExecutor() as pool, pipeline.db.transaction():
        pipeline.transform(raw_id)
        other = pool.submit(transform, pipeline.entity, raw_id, db=connect(), root=pipeline.root)
        wait_for_a_blocked_session(connect())
    other.result()
    assert rows("select records from etl.field_warnings") == [(5,)]


def test_a_replay_types_no_later_batch_of_other_logins_and_takes_no_lock_for_each_of_its_own(
    pipeline: Pipeline, rows: Rows, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other,) = pipeline.enrol("two")
    (replayed,) = load_days(pipeline, account, "own", 0)
    load_days(pipeline, other, "other", 1, 2, 3)
    own = load_days(pipeline, account, "own", 4, 5)
    pipeline.entity = replace(pipeline.entity, version=9)
    pipeline.db.execute("delete from core.transactions")
    typed = []

    def transform_and_remember(*args: Any, **kwargs: Any) -> int:
        typed.append(args[1])
        return transform(*args, **kwargs)

    monkeypatch.setattr(reprocess, "transform", transform_and_remember)
    locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    with pipeline.db.transaction():
        pipeline.replay(replayed)
        assert typed == own
        assert rows(locks) == [(0,)]


@pytest.mark.parametrize("are_logins_known", [True, False], ids=["logins are stored", "only the bounds of the chunk"])
def test_a_replay_passes_over_later_batches_that_were_purged(
    pipeline: Pipeline,
    rows: Rows,
    account: int,
    caplog: pytest.LogCaptureFixture,
    *,
    are_logins_known: bool,
) -> None:
    (other,) = pipeline.enrol("two")
    (replayed,) = load_days(pipeline, account, "own", 0)
    (purged_other,) = load_days(pipeline, other, "other", 1)
    purged, last = load_days(pipeline, account, "own", 2, 3)
    pipeline.db.execute(
        "update etl.raw_batches set purged_at = now() where raw_id = any(%s)", ([purged, purged_other],)
    )
    if not are_logins_known:
        pipeline.db.execute("update etl.raw_batches set provider_account_ids = null")
    pipeline.entity = replace(pipeline.entity, version=9)
    pipeline.db.execute("delete from core.transactions")
    pipeline.replay(replayed)
    assert rows("select transaction_id, raw_id from core.transactions") == [("own", last)]
    assert f"raw batch {purged} was purged" in caplog.text
    assert (f"raw batch {purged_other} was purged" in caplog.text) == (not are_logins_known)


def test_a_replay_that_merges_a_later_batch_does_not_wait_for_a_load_of_it(
    pipeline: Pipeline, rows: Rows, account: int, connect: Connect
) -> None:
    first = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a")
    pipeline.load(first)
    second = pipeline.seal_pages((account, page(modified=[transaction(amount=2)])), moves="a>b", at=LATER)
    pipeline.load(second)
    pipeline.db.execute("delete from core.transactions")
    other = connect()
    other.execute("set lock_timeout = '10s'")
    with pipeline.db.transaction():
        raw_batches.lock(pipeline.db, second)
        replay(pipeline.entity, first, db=other, root=pipeline.root)
        assert rows("select amount::int from core.transactions") == [(2,)]


def test_a_dry_run_reports_the_rows_that_a_replay_would_remove(pipeline: Pipeline, rows: Rows, account: int) -> None:
    full_read = load_full_read_with_a_reject(pipeline, account)
    with start_dry_run(pipeline.entity, db=pipeline.db) as dry_run:
        pipeline.replay(full_read, dry_run=dry_run)
        changed, count = before_image.changed_rows(pipeline.db, pipeline.entity, limit=10)
        ((total),) = before_image.money_totals(pipeline.db, pipeline.entity)
    assert (keys(changed), count) == (["gone", LONG], 2)
    assert total.after == total.before
    assert rows(REMOVALS) == [("gone", None), ("kept", None)]
    pipeline.replay(full_read)
    assert rows(REMOVALS) == [("gone", "absent"), ("kept", None), (LONG, None)]


def test_rejects_of_an_earlier_version_prevent_no_removal(pipeline: Pipeline, rows: Rows, account: int) -> None:
    full_read = load_full_read_with_a_reject(pipeline, account)
    pipeline.entity = replace(pipeline.entity, version=pipeline.entity.version + 1)
    pipeline.replay(full_read)
    assert rows(REMOVALS) == [("gone", "absent"), ("kept", None), (LONG, None)]


def wait_for_a_blocked_session(db: Connection) -> None:
    """Return once a session waits for a lock; fail if none does within 30 seconds."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    for _ in range(1_500):
        if db.execute(query).fetchone() != (0,):
            return
        db.execute("select pg_sleep(0.02)")
    pytest.fail("no session waits for a lock")
