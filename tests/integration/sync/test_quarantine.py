"""Quarantine: a login with too many bad records is not loaded, holds back no other, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.declare.check import MaxLength
from etl.declare.entity import Entity
from etl.sync import load as load_step
from etl.sync.load import NotAcceptable
from etl.sync.replay import start_dry_run
from etl.sync.report import report
from etl.sync.store import before_image
from etl.sync.store.loads import LoadCounts
from tests.integration.sync.pipeline import LATER, PLAID_ONE_RETRY, Pipeline
from tests.integration.sync.test_entities import account as bank_account
from tests.integration.sync.test_entities import snapshot
from tests.integration.sync.test_load import load_counts
from tests.integration.sync.test_reprocess import wait_for_a_blocked_session
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
Connect = Callable[[], Connection]
CURSORS = "select provider_account_id, value, generation from etl.cursors order by 1"
LEFT_OUT = "select provider_account_id, outcome from etl.left_out order by 1"
QUARANTINES = "select provider_account_id, raw_id, read, rejected, path, rule, failures from etl.quarantines order by 1"
LIVE = "select provider_account_id, count(*) from core.transactions where removed_at is null group by 1 order by 1"


def records(bad: int, good: int, prefix: str = "t") -> list[dict[str, object]]:
    codes = ["???"] * bad + ["USD"] * good
    return [transaction(transaction_id=f"{prefix}{n}", iso_currency_code=code) for n, code in enumerate(codes)]


def accept(pipeline: Pipeline, account: int, *, entity: Entity | None = None) -> LoadCounts | None:
    return load_step.accept(entity or pipeline.entity, account, db=pipeline.db, root=pipeline.root)


def mended(entity: Entity) -> Entity:
    """Return an entity that accepts any currency."""
    return replace(entity, checks=())


@pytest.fixture
def logins(pipeline: Pipeline) -> tuple[int, int]:
    good, bad = pipeline.enrol("good", "bad")
    return good, bad


@pytest.fixture
def quarantined(pipeline: Pipeline, logins: tuple[int, int]) -> int:
    """Return a loaded batch in which one login was loaded and the other quarantined."""
    good, bad = logins
    raw_id = pipeline.seal_pages((good, page(added=records(0, 3))), (bad, page(added=records(30, 10))), generation=0)
    assert pipeline.load(raw_id) == load_counts(inserted=3, quarantined=40)
    return raw_id


def test_a_login_with_too_many_rejects_is_quarantined_and_its_siblings_load(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    good, bad = logins
    assert rows(LIVE) == [(good, 3)]
    assert rows(CURSORS) == [(good, "a", 1), (bad, "", 0)]
    assert rows("select provider_account_id, outcome, reason from etl.left_out") == [
        (bad, "quarantined", "30 of 40 records rejected, mostly iso4217 at added[].iso_currency_code")
    ]
    assert rows(QUARANTINES) == [(bad, quarantined, 40, 30, "added[].iso_currency_code", "iso4217", 1)]
    assert pipeline.load(quarantined) == load_counts(inserted=3, quarantined=40)
    assert report(pipeline.entity, "by hand", db=pipeline.db)["quarantined"] == 40


@pytest.mark.parametrize(
    ("bad", "good", "counts"),
    [
        (20, 10, load_counts(inserted=10, rejected=20)),
        (21, 10, load_counts(quarantined=31)),
        (25, 475, load_counts(inserted=475, rejected=25)),
        (26, 474, load_counts(quarantined=500)),
    ],
)
def test_twenty_rejects_and_five_in_a_hundred_are_tolerated_and_one_more_is_not(
    pipeline: Pipeline, bad: int, good: int, counts: LoadCounts
) -> None:
    (account,) = pipeline.enrol("one")
    assert pipeline.load(pipeline.seal_pages((account, page(added=records(bad, good))))) == counts


def test_many_logins_with_tolerated_rejects_are_not_quarantined_together(pipeline: Pipeline) -> None:
    accounts = pipeline.enrol("one", "two", "three")
    pages = [(account, page(added=records(15, 1))) for account in accounts]
    assert pipeline.load(pipeline.seal_pages(*pages)) == load_counts(inserted=3, rejected=45)


def test_a_quarantined_login_is_tried_again_by_each_run_and_released_by_the_first_that_loads_it(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    _, bad = logins
    again = pipeline.seal_pages((bad, page(added=records(31, 9))), run_id="next", generation=0)
    assert pipeline.load(again) == load_counts(quarantined=40)
    assert rows(QUARANTINES) == [(bad, again, 40, 31, "added[].iso_currency_code", "iso4217", 2)]
    third = pipeline.seal_pages((bad, page(added=records(1, 39))), run_id="third", generation=0)
    assert pipeline.load(third) == load_counts(inserted=39, rejected=1)
    assert rows(QUARANTINES) == []
    assert rows(LEFT_OUT) == [(bad, "quarantined")] * 2


def test_a_login_that_another_batch_overtook_is_stale_and_not_quarantined(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    _, bad = logins
    zombie = pipeline.seal_pages((bad, page(added=records(30, 10))), generation=0)
    pipeline.load(pipeline.seal_pages((bad, page(added=records(0, 1))), run_id="next", generation=0))
    assert pipeline.load(zombie) == load_counts(stale=10, rejected=30)
    assert (rows(LEFT_OUT), rows(QUARANTINES)) == ([(bad, "stale")], [])
    assert pipeline.replay(zombie) == load_counts(stale=10, rejected=30)


def test_a_replay_after_the_declaration_was_mended_loads_the_quarantined_login_with_its_cursor(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    good, bad = logins
    assert pipeline.replay(quarantined) == load_counts(unchanged=3, quarantined=40)
    pipeline.entity = mended(pipeline.entity)
    with start_dry_run(pipeline.entity, db=pipeline.db) as dry_run:
        assert pipeline.replay(quarantined, dry_run=dry_run) == load_counts(unchanged=3, inserted=40)
        assert before_image.changed_rows(pipeline.db, pipeline.entity, limit=1)[1] == 40
    assert rows(LIVE) == [(good, 3)]
    assert pipeline.replay(quarantined) == load_counts(unchanged=3, inserted=40)
    assert rows(LIVE) == [(good, 3), (bad, 40)]
    assert rows(CURSORS) == [(good, "a", 1), (bad, "a", 1)]
    assert (rows(QUARANTINES), rows(LEFT_OUT)) == ([], [])
    assert pipeline.replay(quarantined) == load_counts(unchanged=43)
    following = pipeline.seal_pages((bad, page(added=records(0, 1, "new"))), moves="a>b", at=LATER, generation=1)
    assert pipeline.load(following) == load_counts(inserted=1)


def test_a_new_version_loads_the_quarantined_login_when_tasks_are_cleared(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    pipeline.entity = replace(mended(pipeline.entity), version=pipeline.entity.version + 1)
    assert pipeline.load(pipeline.transform(quarantined)) == load_counts(unchanged=3, inserted=40)
    assert rows(QUARANTINES) == []


def test_a_quarantined_login_that_has_advanced_since_is_stale_in_a_replay(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    good, bad = logins
    pipeline.load(pipeline.seal_pages((bad, page(added=records(0, 7))), run_id="next", generation=0))
    pipeline.entity = mended(pipeline.entity)
    expected = load_counts(unchanged=3, stale=40)
    assert [pipeline.replay(quarantined) for _ in range(2)] == [expected, expected]
    assert rows(LEFT_OUT) == [(bad, "stale")]
    assert rows(LIVE) == [(good, 3), (bad, 7)]


def test_a_replay_of_an_older_batch_does_not_end_a_quarantine(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    _, bad = logins
    first = pipeline.seal_pages((bad, page(added=records(0, 2))))
    pipeline.load(first)
    second = pipeline.seal_pages((bad, page(added=records(30, 0))), moves="a>b", at=LATER)
    pipeline.load(second)
    pipeline.replay(first)
    assert rows("select raw_id from etl.quarantines") == [(second,)]


def test_a_quarantined_login_is_not_merged_again_when_an_older_batch_is_replayed(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    _, bad = logins
    first = pipeline.seal_pages((bad, page(added=records(0, 2))))
    pipeline.load(first)
    changed = [transaction(transaction_id="t0", amount=9), *records(30, 0, "bad")]
    pipeline.load(pipeline.seal_pages((bad, page(modified=changed)), moves="a>b", at=LATER))
    pipeline.db.execute("delete from core.transactions")
    assert pipeline.replay(first) == load_counts(inserted=2)
    assert rows("select count(*) from core.transactions where amount = 9") == [(0,)]


def test_a_window_is_quarantined_too_and_ends_no_quarantine_of_the_feed(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    good, bad = logins

    def window(*transactions: dict[str, object]) -> bytes:
        return msgspec.json.encode({"transactions": transactions, "total_transactions": len(transactions)})

    pipeline.source = "transactions_get"
    few = pipeline.seal_pages((bad, window(*records(0, 1, "w"))), moves=">", at=LATER, run_id="backfill")
    assert pipeline.load(few) == load_counts(inserted=1)
    assert rows("select raw_id from etl.quarantines") == [(quarantined,)]
    bad_window = pipeline.seal_pages(
        (good, window(*records(0, 2, "x"))), (bad, window(*records(22, 1, "v"))), moves=">", at=LATER, run_id="backfill"
    )
    assert pipeline.load(bad_window) == load_counts(inserted=2, quarantined=23)
    assert rows("select source, raw_id, failures from etl.quarantines order by 1") == [
        ("transactions_get", bad_window, 1),
        ("transactions_sync", quarantined, 1),
    ]
    pipeline.load(pipeline.seal_pages((bad, window(*records(0, 1, "w"))), moves=">", at=LATER, run_id="good"))
    assert rows("select raw_id from etl.quarantines") == [(quarantined,)]
    pipeline.load(pipeline.seal_pages((bad, window(*records(22, 1))), moves=">", at=LATER, run_id="bad"))
    pipeline.source = "transactions_sync"
    assert pipeline.load(
        pipeline.seal_pages((bad, page(added=records(0, 1))), at=LATER, run_id="next", generation=0)
    ) == load_counts(inserted=1)
    assert rows(QUARANTINES) == []


def test_the_window_and_the_feed_of_a_login_are_accepted_one_after_the_other(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    _, bad = logins
    pipeline.source = "transactions_get"
    body = msgspec.json.encode({"transactions": records(22, 1, "v"), "total_transactions": 23})
    pipeline.db.execute("update etl.cursors set told_at = null")
    window = pipeline.seal_pages((bad, body), moves=">", at=LATER, run_id="backfill")
    pipeline.db.execute(
        "update etl.chunks set first_day = '2026-11-01', last_day = '2026-11-02' where run_id = 'backfill'"
    )
    pipeline.load(window)
    assert accept(pipeline, bad) == load_counts(inserted=1, rejected=22)
    assert accept(pipeline, bad) == load_counts(inserted=10, rejected=30)
    assert (accept(pipeline, bad), rows(QUARANTINES)) == (None, [])


def test_a_new_version_that_rejects_more_loads_what_is_good_of_a_login_that_was_loaded_before(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    _, bad = logins
    raw_id = pipeline.seal_pages((bad, page(added=records(0, 40))))
    pipeline.load(raw_id)
    pipeline.db.execute("delete from core.transactions")
    pipeline.entity = replace(pipeline.entity, version=7, checks=(MaxLength("transaction_id", 2),))
    assert pipeline.load(pipeline.transform(raw_id)) == load_counts(inserted=10, rejected=30)
    assert rows("select version, count(*) from etl.rejects where closed_at is null group by 1") == [(7, 30)]
    assert (rows(QUARANTINES), rows(LEFT_OUT)) == ([], [])


def test_a_login_is_quarantined_in_a_snapshot_and_released_by_the_next(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    good, bad = logins
    pipeline.entity = replace(ACCOUNTS, provider=PLAID_ONE_RETRY)
    pipeline.source = "accounts_get"
    many = [bank_account(account_id=f"a{n}", balances={"current": 1, "iso_currency_code": "???"}) for n in range(21)]
    batch = pipeline.seal_pages((good, snapshot(bank_account())), (bad, snapshot(bank_account(), *many)), moves=">")
    assert pipeline.load(batch) == load_counts(inserted=1, quarantined=22)
    assert rows("select provider_account_id, entity, path from etl.quarantines") == [
        (bad, "accounts", "accounts[].balances.iso_currency_code")
    ]
    accepted = accept(pipeline, bad)
    assert accepted == load_counts(inserted=1, rejected=21)
    assert pipeline.load(batch) == load_counts(inserted=2, rejected=21)
    again = pipeline.seal_pages((bad, snapshot(*many)), moves=">", at=LATER)
    pipeline.load(again)
    following = pipeline.seal_pages((bad, snapshot(bank_account())), moves=">", at=LATER)
    assert pipeline.load(following) == load_counts(unchanged=1)
    assert rows(QUARANTINES) == []


def test_an_older_snapshot_that_is_loaded_late_does_not_end_a_quarantine(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int]
) -> None:
    _, bad = logins
    pipeline.entity = replace(ACCOUNTS, provider=PLAID_ONE_RETRY)
    pipeline.source = "accounts_get"
    late = pipeline.seal_pages((bad, snapshot(bank_account())), moves=">", run_id="late")
    between = pipeline.seal_pages((bad, snapshot(bank_account())), moves=">", at=LATER, run_id="between")
    pipeline.load(between)
    many = [bank_account(account_id=f"a{n}", balances={"current": 1, "iso_currency_code": "???"}) for n in range(21)]
    newest = pipeline.seal_pages((bad, snapshot(*many)), moves=">", at=LATER + timedelta(hours=1), run_id="newest")
    pipeline.load(newest)
    assert pipeline.load(late) == load_counts(superseded=1)
    assert rows("select raw_id from etl.quarantines") == [(newest,)]


def test_acceptance_loads_what_is_good_of_this_login_and_moves_its_cursor(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    good, bad = logins
    assert accept(pipeline, bad) == load_counts(inserted=10, rejected=30)
    assert rows(LIVE) == [(good, 3), (bad, 10)]
    assert rows(CURSORS) == [(good, "a", 1), (bad, "a", 1)]
    assert (rows(QUARANTINES), rows(LEFT_OUT)) == ([], [])
    assert pipeline.load(quarantined) == load_counts(inserted=13, rejected=30)
    assert report(pipeline.entity, "by hand", db=pipeline.db)["quarantined"] == 0


def test_acceptance_again_changes_nothing(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    accept(pipeline, logins[1])
    before = rows("select * from core.transactions"), rows("select * from etl.loads"), rows(CURSORS)
    assert accept(pipeline, logins[1]) is None
    assert (rows("select * from core.transactions"), rows("select * from etl.loads"), rows(CURSORS)) == before


def test_an_accepted_login_is_loaded_again_by_a_replay_that_still_rejects_as_many_records(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    accept(pipeline, logins[1])
    assert pipeline.replay(quarantined) == load_counts(unchanged=13, rejected=30)
    assert (rows(QUARANTINES), rows(LEFT_OUT)) == ([], [])
    assert rows(CURSORS) == [(logins[0], "a", 1), (logins[1], "a", 1)]


def test_acceptance_is_refused_if_the_cursor_moved_meanwhile(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    pipeline.db.execute("update etl.cursors set generation = 5 where provider_account_id = %s", [logins[1]])
    before = rows("select * from etl.loads"), rows(LEFT_OUT)
    with pytest.raises(NotAcceptable, match=r"another batch moved its cursor first; trigger etl_transactions"):
        accept(pipeline, logins[1])
    assert (rows("select * from etl.loads"), rows(LEFT_OUT)) == before
    assert rows("select count(*) from etl.quarantines") == [(1,)]


def test_acceptance_of_a_login_without_any_good_record_is_refused_if_the_cursor_moved_meanwhile(
    pipeline: Pipeline, logins: tuple[int, int]
) -> None:
    pipeline.load(pipeline.seal_pages((logins[1], page(added=records(30, 0))), generation=0))
    pipeline.db.execute("update etl.cursors set generation = 5")
    with pytest.raises(NotAcceptable):
        accept(pipeline, logins[1])


def test_acceptance_of_a_purged_batch_says_what_to_do(
    pipeline: Pipeline, logins: tuple[int, int], quarantined: int
) -> None:
    pipeline.db.execute("update etl.raw_batches set purged_at = '2026-11-30 10:00+00'")
    other_version = replace(pipeline.entity, version=7)
    with pytest.raises(
        NotAcceptable, match=r"purged at 2026-11-30 10:00:00 UTC; trigger etl_transactions, which reads"
    ):
        accept(pipeline, logins[1], entity=other_version)


def test_acceptance_types_the_batch_again_for_a_new_version(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int
) -> None:
    stricter = replace(pipeline.entity, version=7, checks=(*pipeline.entity.checks, MaxLength("transaction_id", 2)))
    assert accept(pipeline, logins[1], entity=stricter) == load_counts(rejected=40)
    assert rows("select version, rejected, quarantined from etl.loads") == [(pipeline.entity.version, 40, 0)]


def test_acceptance_waits_for_a_load_of_the_same_login(
    pipeline: Pipeline, logins: tuple[int, int], quarantined: int, connect: Connect
) -> None:
    following = pipeline.seal_pages((logins[1], page(added=records(0, 1))), run_id="next", generation=0)
    other = replace(pipeline, db=connect())
    with ThreadPoolExecutor() as pool:
        with pipeline.db.transaction():
            pipeline.load(following)
            acceptance = pool.submit(accept, other, logins[1])
            wait_for_a_blocked_session(connect())
        with pytest.raises(NotAcceptable):
            acceptance.result()
    assert accept(pipeline, logins[1]) is None


def test_concurrent_acceptances_load_the_login_once(
    pipeline: Pipeline, rows: Rows, logins: tuple[int, int], quarantined: int, connect: Connect
) -> None:
    others = [replace(pipeline, db=connect()) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(accept, others, [logins[1]] * 2))
    assert sorted(results, key=bool) == [None, load_counts(inserted=10, rejected=30)]
    assert rows("select inserted, rejected, quarantined from etl.loads") == [(13, 30, 0)]
