"""Purge of old rows: rejects, warnings, replays, skip reasons, reconciliations and chunks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from etl.catalog.retention import RETENTION
from etl.db.connection import Connection
from etl.maintenance.analyze import analyze_stale_tables
from etl.maintenance.purge_storage import purge_unfinished
from etl.maintenance.purge_tables import purge_rows
from etl.maintenance.store import expired
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.integration.sync.test_load import load_counts
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LONG_AFTER = datetime.now(UTC) + timedelta(days=1_000)


def purge_and_count(db: Connection, *, as_of: datetime = LONG_AFTER, dry_run: bool = False) -> dict[str, int]:
    """Purge, and return the numbers of removed rows by their label; without those of which there are none."""
    results = purge_rows(RETENTION, db=db, as_of=as_of, dry_run=dry_run)
    return {result.label: result.count for result in results if result.count}


def close_rejects(db: Connection, *, at: str = "now()") -> None:
    db.execute(f"update etl.rejects set closed_at = {at}".encode())


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


@pytest.fixture
def rejected(pipeline: Pipeline, account: int) -> int:
    """Return a typed raw batch with three rejects."""
    bad = [transaction(transaction_id=f"t{number}", amount="much") for number in range(3)]
    return pipeline.seal_pages((account, page(added=[transaction(), *bad])))


def test_closed_rejects_are_removed_once(pipeline: Pipeline, rejected: int) -> None:
    assert pipeline.load(rejected) == load_counts(inserted=1, rejected=3)
    close_rejects(pipeline.db)
    assert purge_and_count(pipeline.db, dry_run=True) == {"rejects": 3}
    assert purge_and_count(pipeline.db) == {"rejects": 3}
    assert purge_and_count(pipeline.db) == {}


def test_open_rejects_stay_at_any_age_until_their_batch_is_purged(
    pipeline: Pipeline, rejected: int, rows: Rows
) -> None:
    pipeline.load(rejected)
    assert purge_and_count(pipeline.db) == {}
    assert rows("select count(*) from etl.rejects where closed_at is null") == [(3,)]
    pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    assert purge_and_count(pipeline.db) == {"rejects": 3}


def test_a_reject_is_kept_for_its_retention_after_it_was_closed(pipeline: Pipeline, rejected: int) -> None:
    pipeline.load(rejected)
    close_rejects(pipeline.db, at="now() + interval '100 days'")
    for days, removed in ((99, {}), (101, {"rejects": 3})):
        as_of = datetime.now(UTC) + RETENTION.rejects + timedelta(days=days)
        assert purge_and_count(pipeline.db, as_of=as_of) == removed


def test_field_warnings_are_removed_after_the_retention_of_rejects(
    pipeline: Pipeline, rejected: int, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired, "MAX_ROWS", 3)
    pipeline.db.execute(
        "insert into etl.field_warnings "
        "(raw_id, entity, version, provider_account_id, path, rule, records, line, found) "
        "select 1, 'transactions', v, a, p, 'instant', 1, 0, '\"\"' "
        "from generate_series(1, 2) v, generate_series(1, 2) a, unnest(array['a', 'b']) p"
    )
    soon = datetime.now(UTC) + RETENTION.rejects - timedelta(hours=1)
    assert purge_and_count(pipeline.db, as_of=soon) == {}
    assert purge_and_count(pipeline.db, dry_run=True) == {"field warnings": 8}
    assert purge_and_count(pipeline.db) == {"field warnings": 8}
    assert rows("select count(*) from etl.field_warnings") == [(0,)]


def test_field_warnings_of_the_same_batch_that_are_younger_stay(pipeline: Pipeline, rejected: int, rows: Rows) -> None:
    pipeline.db.execute(
        "insert into etl.field_warnings values (1, 'transactions', 1, 1, 'a', 'r', 1, 0, 'x', now()), "
        "(1, 'transactions', 1, 1, 'b', 'r', 1, 0, 'x', now() + interval '1000 days')"
    )
    assert purge_and_count(pipeline.db) == {"field warnings": 1}
    assert rows("select path from etl.field_warnings") == [("b",)]


def test_an_unfinished_download_keeps_its_chunk_until_its_pages_are_removed(pipeline: Pipeline, account: int) -> None:
    pipeline.plan("never finished")
    pipeline.db.execute(
        "insert into etl.unfinished_downloads (provider_account_id, feed, chunk_id, attempt, generation, pages, bytes, "
        "digest, cursor_to, is_full_read) select %s, 'transactions_sync', chunk_id, 1, 0, 1, 1, 'd', 'a', true "
        "from etl.chunks",
        (account,),
    )
    assert purge_and_count(pipeline.db) == {}
    purge_unfinished(RETENTION, db=pipeline.db, root=pipeline.root, as_of=LONG_AFTER, dry_run=False)
    assert purge_and_count(pipeline.db) == {"chunks": 1}


@pytest.mark.parametrize(
    ("state", "purged_at", "removed"),
    [
        ("applied", "now()", 1),
        ("approved", "now()", 1),
        ("pending", "now()", 0),
        ("revoked", "now()", 0),
        ("applied", "null", 0),
    ],
)
def test_reconciliations_are_removed_with_their_rows_unless_they_wait_or_protect_rows_or_can_be_replayed(
    pipeline: Pipeline, rejected: int, state: str, purged_at: str, removed: int
) -> None:
    account = 1
    for entity in ("transactions", "other"):
        pipeline.db.execute(
            "insert into etl.reconciliations (raw_id, entity, provider_account_id, state, live, absent, decided_at) "
            "values (%s, %s, %s, %s, 9, 1, now())",
            (rejected, entity, account, state if entity == "transactions" else "pending"),
        )
        pipeline.db.execute(
            "insert into etl.ended_rows select %s, %s, %s, 't1', now(), %s", (rejected, entity, account, rejected)
        )
    pipeline.db.execute(f"update etl.raw_batches set purged_at = {purged_at}".encode())
    soon = datetime.now(UTC) + RETENTION.history - timedelta(hours=1)
    expected = {"reconciliations": removed} if removed else {}
    assert "reconciliations" not in purge_and_count(pipeline.db, as_of=soon, dry_run=True)
    for dry_run in (True, False):
        counts = purge_and_count(pipeline.db, dry_run=dry_run)
        assert {label: count for label, count in counts.items() if label == "reconciliations"} == expected
    for table in ("reconciliations", "ended_rows"):
        left = pipeline.db.execute(f"select entity from etl.{table} order by 1".encode()).fetchall()
        assert left == [("other",), ("transactions",)][: 2 - removed]


def test_rejects_of_a_version_that_is_not_loaded_yet_stay(pipeline: Pipeline, rejected: int, rows: Rows) -> None:
    pipeline.load(rejected)
    newer = pipeline.entity.version + 1
    pipeline.db.execute("update etl.rejects set version = %s", (newer,))
    close_rejects(pipeline.db)
    assert purge_and_count(pipeline.db) == {}
    assert rows("select version, count(*) from etl.rejects group by 1") == [(newer, 3)]


def test_rows_are_removed_in_pages_and_not_before_their_retention(
    pipeline: Pipeline, rejected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired, "MAX_ROWS", 2)
    pipeline.load(rejected)
    close_rejects(pipeline.db)
    assert purge_and_count(pipeline.db, as_of=datetime.now(UTC) + RETENTION.rejects - timedelta(hours=1)) == {}
    assert purge_and_count(pipeline.db, dry_run=True) == {"rejects": 3}
    assert purge_and_count(pipeline.db) == {"rejects": 3}


def test_replays_are_removed_and_loads_never(pipeline: Pipeline, rejected: int, rows: Rows) -> None:
    pipeline.load(rejected)
    pipeline.replay(rejected)
    assert purge_and_count(pipeline.db, dry_run=True) == {"replays": 1}
    assert purge_and_count(pipeline.db) == {"replays": 1}
    assert rows("select count(*) from etl.loads") == [(1,)]


def test_stale_accounts_stay_recorded_while_their_batch_can_be_replayed(pipeline: Pipeline, account: int) -> None:
    winner = pipeline.seal_pages((account, page(added=[transaction(amount=1)])), moves=">a")
    loser = pipeline.seal_pages((account, page(added=[transaction(amount=2)])), moves=">b", at=LATER)
    pipeline.load(winner)
    assert pipeline.load(loser) == load_counts(stale=1)
    assert purge_and_count(pipeline.db) == {}
    assert pipeline.replay(loser) == load_counts(stale=1)
    pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    assert purge_and_count(pipeline.db) == {"replays": 1, "skipped accounts": 1}


def test_skipped_accounts_stay_recorded_while_their_batch_can_be_replayed(pipeline: Pipeline, account: int) -> None:
    pipeline.seal_pages()
    pipeline.db.execute("insert into etl.left_out select chunk_id, 1, %s, 'refused', 'x' from etl.chunks", (account,))
    assert purge_and_count(pipeline.db) == {}
    pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    assert purge_and_count(pipeline.db) == {"skipped accounts": 1}


def test_gaps_stay_recorded_while_their_batch_can_be_replayed(pipeline: Pipeline, account: int, rows: Rows) -> None:
    pipeline.seal_pages()
    pipeline.db.execute(
        "insert into etl.gaps (chunk_id, attempt, provider_account_id, code, part_column, part, detail) "
        "select chunk_id, 1, %s, code, '', '', '' from etl.chunks cross join unnest('{a,b}'::text[]) as c (code)",
        (account,),
    )
    assert purge_and_count(pipeline.db) == {}
    pipeline.db.execute("update etl.raw_batches set purged_at = now()")
    assert purge_and_count(pipeline.db)["gaps"] > 0
    assert rows("select count(*) from etl.gaps") == [(0,)]


def test_chunk_with_a_batch_stays_and_one_without_is_removed(pipeline: Pipeline, account: int, rows: Rows) -> None:
    pipeline.seal_pages((account, page(added=[transaction()])), run_id="sealed")
    pipeline.plan("never downloaded")
    pipeline.db.execute(
        "insert into etl.left_out select chunk_id, 1, %s, 'unreachable', 'x' from etl.chunks where run_id <> 'sealed'",
        (account,),
    )
    assert purge_and_count(pipeline.db) == {"skipped accounts": 1, "chunks": 1}
    assert rows("select run_id from etl.chunks") == [("sealed",)]
    assert purge_and_count(pipeline.db) == {}


def test_a_partitioned_table_is_analyzed_as_a_whole_and_once(pipeline: Pipeline, rejected: int, rows: Rows) -> None:
    db = pipeline.db
    assert analyze_stale_tables(db=db, dry_run=True) == []
    pipeline.load(rejected)
    rows("select pg_stat_force_next_flush()")
    assert analyze_stale_tables(db=db, dry_run=True) == ["core.transactions"]
    assert analyze_stale_tables(db=db, dry_run=False) == ["core.transactions"]
    assert rows("select reltuples::int from pg_class where oid = 'core.transactions'::regclass") == [(1,)]
    rows("select pg_stat_force_next_flush()")
    assert analyze_stale_tables(db=db, dry_run=False) == []
