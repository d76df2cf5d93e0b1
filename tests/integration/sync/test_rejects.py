"""Rejects and field warnings: a record is one reject, however often it fails, until it is no longer rejected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from psycopg.sql import SQL

from etl.db.statements import StatementFile
from etl.declare.check import Iso4217
from etl.sync.records.blocks import Block
from etl.sync.report import totals
from etl.sync.store import field_warnings, rejects, status
from etl.sync.store.rejects import RejectFilter
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.integration.sync.test_load import load_counts
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OPEN = "select record_id, failures, raw_id, reason from etl.rejects where closed_at is null order by record_id"


@pytest.fixture
def account(pipeline: Pipeline) -> int:
    (account,) = pipeline.enrol("one")
    return account


def bad(number: int, **fields: object) -> dict[str, object]:
    return transaction(transaction_id=f"t{number:02}", **{"iso_currency_code": "???", **fields})


def load_pages(pipeline: Pipeline, *pages: tuple[int, bytes], **options: Any) -> int:
    """Seal, transform and load pages; return the raw batch."""
    raw_id = pipeline.seal_pages(*pages, **options)
    pipeline.load(raw_id)
    return raw_id


def lenient(pipeline: Pipeline) -> None:
    """Declare the next version of the entity, which accepts any currency code."""
    checks = tuple(check for check in pipeline.entity.checks if not isinstance(check, Iso4217))
    pipeline.entity = replace(pipeline.entity, checks=checks, version=pipeline.entity.version + 1)


def test_three_failed_attempts_are_one_reject_for_each_record(pipeline: Pipeline, rows: Rows, account: int) -> None:
    records = [bad(number) for number in range(40)]
    attempts = [load_pages(pipeline, (account, page(added=records)), run_id=f"run {number}") for number in range(4)]
    assert rows("select count(*), min(failures), max(failures) from etl.rejects") == [(40, 4, 4)]
    assert rows("select distinct raw_id, closed_at from etl.rejects") == [(attempts[-1], None)]
    (tally,) = rejects.count_by_rule(pipeline.db, RejectFilter([pipeline.entity.name]))
    assert tally.rejects == 40
    as_of = LATER
    assert status.entity_status(pipeline.db, pipeline.entity, as_of=as_of).rejects == 40


def test_loading_a_batch_again_is_no_further_failure(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_id = load_pages(pipeline, (account, page(added=[bad(1)])))
    for _ in range(3):
        pipeline.replay(raw_id)
    assert rows("select failures, closed_at from etl.rejects") == [(1, None)]


def test_a_reject_has_the_latest_reason_and_time(pipeline: Pipeline, rows: Rows, account: int) -> None:
    load_pages(pipeline, (account, page(added=[bad(1)])), at=FIRST)
    second = load_pages(
        pipeline,
        (account, page(added=[transaction()])),
        (account, page(added=[bad(1, iso_currency_code="!!!")])),
        at=LATER,
        moves="a>b",
    )
    assert rows("select raw_id, line, path, reason, observed_at, rejected_at > first_rejected_at from etl.rejects") == [
        (second, 1, "added[0].iso_currency_code", "found currency '!!!', dated_on '2026-11-20'", LATER, True)
    ]


def test_an_older_batch_that_is_replayed_does_not_replace_what_a_later_one_found(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first = load_pages(pipeline, (account, page(added=[bad(1)])))
    second = load_pages(pipeline, (account, page(added=[bad(1, iso_currency_code="!!!")])), moves="a>b")
    before = rows("select * from etl.rejects")
    pipeline.replay(first)
    assert rows("select * from etl.rejects") == before
    assert rows("select raw_id, failures from etl.rejects") == [(second, 2)]


def test_several_rejects_of_one_record_in_a_batch_are_one_with_the_last_reason(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    records = [bad(1), bad(2), bad(1, iso_currency_code="!!!"), bad(3), bad(1, iso_currency_code="...")]
    raw_id = pipeline.seal_pages((account, page(added=records)))
    assert pipeline.load(raw_id).rejected == 5
    assert [(record, each_raw, reason) for record, _, each_raw, reason in rows(OPEN)] == [
        ("t01", raw_id, "found currency '...', dated_on '2026-11-20'"),
        ("t02", raw_id, "found currency '???', dated_on '2026-11-20'"),
        ("t03", raw_id, "found currency '???', dated_on '2026-11-20'"),
    ]


def test_a_record_that_is_no_longer_rejected_closes_its_reject(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_id = load_pages(pipeline, (account, page(added=[bad(1), bad(2, amount="?")])))
    other = load_pages(pipeline, (account, page(added=[bad(3)])), run_id="other", moves="a>b")
    lenient(pipeline)
    pipeline.replay(raw_id)
    assert rows("select record_id, closed_by from etl.rejects order by 1") == [
        ("t01", raw_id),
        ("t02", None),
        ("t03", None),
    ]
    closed = rejects.latest(pipeline.db, RejectFilter([pipeline.entity.name], closed=True), limit=10)
    assert [(each.record_id, each.closed_at is not None) for each in closed] == [("t01", True)]
    assert rejects.replayable_batches(pipeline.db, entity=pipeline.entity.name, raw_id=None) == [raw_id, other]


def test_a_reject_that_a_later_batch_closed_is_not_opened_again_by_its_own_batch(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    first = load_pages(pipeline, (account, page(added=[bad(1)])))
    later = load_pages(pipeline, (account, page(added=[transaction()])), moves="a>b")
    pipeline.db.execute("update etl.rejects set closed_at = now(), closed_by = %s", (later,))
    pipeline.replay(first)
    assert rows(OPEN) == []
    again = load_pages(pipeline, (account, page(modified=[bad(1)])), moves="b>c")
    assert [(record, failures, raw_id) for record, failures, raw_id, _ in rows(OPEN)] == [("t01", 1, again)]


def test_records_of_one_id_in_two_logins_are_two_rejects(pipeline: Pipeline, rows: Rows) -> None:
    one, two = pipeline.enrol("one", "two")
    load_pages(pipeline, (one, page(added=[bad(1)])), (two, page(added=[bad(1)])))
    assert rows("select provider_account_id, failures from etl.rejects order by 1") == [(one, 1), (two, 1)]


def test_a_reject_names_the_pending_transaction_that_its_record_replaces(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    records = [
        bad(1, pending_transaction_id="p1"),
        bad(2, pending_transaction_id="p2", amount="?"),
        bad(3, pending_transaction_id="p" * 300),
        bad(4, pending_transaction_id="p\0"),
    ]
    load_pages(pipeline, (account, page(added=records)))
    assert rows("select record_id, replaces from etl.rejects order by 1") == [
        ("t01", "p1"),
        ("t02", "p2"),
        ("t03", None),
        ("t04", None),
    ]


def test_records_without_a_usable_key_are_told_apart_by_their_content(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    texts = ("", " ", "x" * 100_000, "x" * 100_001, "\0", "\0\0")
    records: list[dict[str, object]] = [
        transaction(transaction_id=text, amount=number) for number, text in enumerate(texts)
    ]
    for number in range(2):
        body = msgspec.json.encode({"added": [*records, {}, 7], "modified": [], "removed": []})
        raw_id = pipeline.seal_pages(
            (account, body), run_id=f"run {number}", moves=f"{'a' * number}>{'a' * (number + 1)}"
        )
        assert pipeline.load(raw_id) == load_counts(rejected=8)
    assert rows("select count(*), count(distinct record_id), min(failures) from etl.rejects") == [(8, 8, 2)]


def test_field_warnings_are_stored_by_login_path_and_rule_in_place_of_earlier_ones(
    pipeline: Pipeline, rows: Rows
) -> None:
    one, two = pipeline.enrol("one", "two")
    odd = [transaction(transaction_id=f"t{number}", datetime="", name="a\0b") for number in range(3)]
    pages = [(one, page(added=[transaction()])), (one, page(added=odd)), (two, page(modified=[odd[0]]))]
    raw_id = pipeline.seal_pages(*pages)
    stored = "select provider_account_id, path, rule, records, line, found from etl.field_warnings order by 1, 2"
    expected = [
        (one, "added[].datetime", "type", 3, 1, '""'),
        (one, "added[].name", "nul", 3, 1, "a\\0b"),
        (two, "modified[].datetime", "type", 1, 2, '""'),
        (two, "modified[].name", "nul", 1, 2, "a\\0b"),
    ]
    assert rows(stored) == expected
    pipeline.entity = replace(pipeline.entity, version=pipeline.entity.version + 1)
    pipeline.transform(raw_id)
    assert rows(stored) == expected
    assert pipeline.load(raw_id) == load_counts(inserted=5)
    assert rows("select count(*) from core.transactions where dated_at is null and description is null") == [(4,)]
    summaries = field_warnings.summaries(pipeline.db, entities=[pipeline.entity.name], limit=2)
    assert [(each.path, each.records, each.logins, each.found) for each in summaries] == [
        ("added[].datetime", 3, 1, '""'),
        ("added[].name", 3, 1, "a\\0b"),
    ]


def test_a_run_counts_its_bad_fields(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", page(added=[transaction(datetime="", merchant_name=7)]), page(added=[transaction()]))
    scripted_pipeline.run("first")
    scripted_pipeline.run("second")
    counts = [totals(scripted_pipeline.entity, run_id, db=scripted_pipeline.db) for run_id in ("first", "second")]
    assert [each["field_warnings"] for each in counts] == [2, 0]


WARNING = (
    "insert into etl.field_warnings (raw_id, entity, version, provider_account_id, path, rule, records, line, found, "
    "warned_at) select {}, 'transactions', 2, n, 'a', 'r', 1, 0, '', now() - {}::interval from generate_series(1, {}) n"
)


def test_counting_the_bad_fields_of_a_run_reads_no_others(pipeline: Pipeline, rows: Rows, account: int) -> None:
    raw_ids = [pipeline.seal_pages((account, page()), run_id=f"run {number}") for number in range(40)]
    for raw_id in raw_ids:
        pipeline.db.execute(SQL(WARNING).format(raw_id, "1 day", 500))
    pipeline.db.execute("analyze etl.field_warnings, etl.chunks, etl.raw_batches")
    assert field_warnings.count_of_run(pipeline.db, entity="transactions", run_id="run 7") == 500
    statement = StatementFile("sync/field_warnings")["count_of_run"]
    ((plan,),) = pipeline.db.execute(
        SQL("explain (analyze, format json) {}").format(statement), {"entity": "transactions", "run_id": "run 7"}
    ).fetchall()
    read = sum(
        (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
        for each in nodes(plan[0]["Plan"])
        if each.get("Relation Name") == "field_warnings"
    )
    assert read == 500


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def test_a_summary_has_the_bad_fields_of_thirty_days_or_of_one_batch(
    pipeline: Pipeline, rows: Rows, account: int
) -> None:
    old, new = (pipeline.seal_pages((account, page()), run_id=f"run {number}") for number in range(2))
    pipeline.db.execute(SQL(WARNING).format(old, "31 days", 3))
    pipeline.db.execute(SQL(WARNING).format(new, "29 days", 2))

    def count(raw_id: int | None = None) -> int:
        found = field_warnings.summaries(pipeline.db, entities=["transactions"], raw_id=raw_id, limit=9)
        return sum(each.records for each in found)

    assert (count(), count(old), count(new)) == (2, 3, 2)
    ((as_of,),) = pipeline.db.execute("select now()").fetchall()
    assert status.entity_status(pipeline.db, pipeline.entity, as_of=as_of).field_warnings == 2


def test_a_transformation_that_fails_keeps_the_rejects_as_they_were(
    pipeline: Pipeline, rows: Rows, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_id = load_pages(pipeline, (account, page(added=[bad(1)])))
    before = rows("select * from etl.rejects")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    lenient(pipeline)
    monkeypatch.setattr(Block, "add", die)
    with pytest.raises(KeyboardInterrupt):
        pipeline.transform(raw_id)
    assert rows("select * from etl.rejects") == before
