"""Lists of recent days that are loaded late, and pending rows that vanish from them at once or settle later."""

from __future__ import annotations

from dataclasses import replace

from etl.db import migrations
from etl.declare.entity import Column, ColumnType
from tests.integration.sync.movements import ENDED, LIVE, MOVEMENTS, SOURCE, TODAY, Bank, Rows, movement
from tests.integration.sync.pipeline import Pipeline

OF_ACCOUNTS = replace(
    MOVEMENTS,
    columns=(*MOVEMENTS.columns, Column("iban", ColumnType.TEXT, required=False)),
    source=replace(SOURCE, account="iban"),
)


def test_a_batch_that_is_loaded_late_tells_of_the_days_before_those_of_later_batches_only(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked = [
        movement("unchanged"),
        movement("vanishes", days_ago=2),
        movement("back"),
        movement("old", days_ago=45),
    ]
    bank.booked.append(movement("oldest", days_ago=46))
    bank.pending = [movement("waits", "-1.00")]
    pipeline.run("first")
    bank.booked = [
        movement("unchanged"),
        movement("vanishes", days_ago=2),
        movement("short"),
        movement("changes", note="1"),
    ]
    bank.booked += [movement("also old", days_ago=35), movement("oldest", days_ago=46), movement("x", days_ago=29)]
    bank.pending = []
    # As after missed runs, so that it reaches further back than the next one.
    pipeline.db.execute("update etl.recent_reads set last_on = last_on - 40")
    late = pipeline.fetch("late", *pipeline.plan("late"))
    bank.booked = [movement("unchanged"), movement("back"), movement("changes", note="2")]
    bank.pending = [movement("waits", "-1.00")]
    pipeline.db.execute("update etl.recent_reads set last_on = last_on + 40")
    pipeline.run("newer")
    assert rows(LIVE) == [("back",), ("changes",), ("old",), ("oldest",), ("unchanged",), ("waits",)]
    pipeline.load(late)
    assert rows(LIVE) == [
        *(("also old",), ("back",), ("changes",), ("oldest",), ("unchanged",), ("waits",), ("x",)),
    ]
    assert rows(ENDED) == [("old", "absent", None), ("vanishes", "absent", None)]
    assert rows("select note from core.movements where movement_id = 'changes'") == [("2",)]
    pipeline.run("next")
    assert rows(ENDED)[0] == ("old", "absent", None)
    pipeline.replay(late)
    assert rows("select note from core.movements where movement_id = 'changes'") == [("2",)]
    assert rows(
        "select count(*) from core.movements where removed_at is null and movement_id in ('back', 'waits')"
    ) == [(2,)]


def test_days_that_were_read_long_ago_are_forgotten_apart_from_the_latest(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked = [movement("a")]
    pipeline.run("first")
    pipeline.run("second")
    assert rows("select count(*) from etl.recent_reads") == [(2,)]
    pipeline.db.execute("update etl.recent_reads set loaded_at = now() - interval '61 days', last_on = last_on - 61")
    pipeline.run("third")
    assert rows("select last_on from etl.recent_reads") == [(TODAY,)]


def test_many_pending_rows_that_settle_at_once_wait_for_nobody(pipeline: Pipeline, bank: Bank, rows: Rows) -> None:
    bank.booked = [movement("other")]
    bank.pending = [movement(f"p{number}", f"-{number}.10") for number in range(1, 10)]
    pipeline.run("first")
    bank.booked += [movement(f"b{number}", f"-{number}.10") for number in range(1, 10)]
    bank.pending = []
    pipeline.run("second")
    assert {(reason, posted) for _, reason, posted in rows(ENDED)} == {
        ("posted", f"b{number}") for number in range(1, 10)
    }


def test_a_pending_row_is_linked_to_a_posted_one_that_comes_some_runs_after_it_vanished(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked, bank.pending = (
        [movement("other", "-7.00"), movement("same", "-9.99", days_ago=9)],
        [movement("p", "-9.99")],
    )
    pipeline.run("first")
    bank.pending = []
    pipeline.run("second")
    assert rows(ENDED) == [("p", "absent", None)]
    bank.booked.append(movement("b", "-9.99", days_ago=1))
    pipeline.run("third")
    assert rows(ENDED) == [("p", "posted", "b")]


def test_too_many_rows_of_the_days_that_were_read_wait_however_many_rows_are_older(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked = [movement(f"old{number}", days_ago=40) for number in range(60)]
    bank.booked += [movement(f"m{number}") for number in range(7)]
    pipeline.run("first")
    bank.booked = [movement("oldest", days_ago=9), movement("m0")]
    pipeline.run("second")
    assert rows(ENDED) == []
    assert rows("select state, live, absent from etl.reconciliations where absent > 0") == [("pending", 7, 6)]


def test_too_many_rows_of_one_account_wait_however_many_rows_the_others_of_its_login_have(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    pipeline.entity = OF_ACCOUNTS
    migrations.migrate(pipeline.db, [pipeline.entity])
    others = [movement(f"o{number}", iban="other") for number in range(70)]
    oldest = [movement("oldest", days_ago=9, iban="one"), movement("older", days_ago=9, iban="other")]
    bank.booked = [*oldest, *others, *(movement(f"m{number}", iban="one") for number in range(8))]
    pipeline.run("first")
    bank.booked = [*oldest, *others, movement("m0", iban="one")]
    pipeline.run("second")
    assert rows(ENDED) == []
    assert rows("select state, absent from etl.reconciliations where absent > 0") == [("pending", 7)]


def test_too_many_rows_of_a_login_wait_although_they_are_few_of_each_account(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    pipeline.entity = OF_ACCOUNTS
    migrations.migrate(pipeline.db, [pipeline.entity])
    oldest = [movement(f"oldest {iban}", days_ago=9, iban=iban) for iban in "ab"]
    bank.booked = [*oldest, *(movement(f"{iban}{number}", iban=iban) for iban in "ab" for number in range(4))]
    pipeline.run("first")
    bank.booked = oldest
    pipeline.run("second")
    assert rows("select state, live, absent from etl.reconciliations where absent > 0") == [("pending", 8, 8)]


def test_rows_without_an_account_do_not_end_by_a_read_that_has_none_of_them(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    pipeline.entity = OF_ACCOUNTS
    migrations.migrate(pipeline.db, [pipeline.entity])
    bank.booked = [movement("of an account", iban="a"), movement("of none")]
    pipeline.run("first")
    bank.booked = bank.booked[:1]
    pipeline.run("second")
    assert rows(ENDED) == []
