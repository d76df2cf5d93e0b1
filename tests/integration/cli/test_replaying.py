"""Replays and rejects from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.declare.check import MaxLength
from tests.integration.cli.conftest import Command
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


def batch(pipeline: Pipeline, *records: dict[str, object]) -> int:
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages((account, page(added=list(records))))
    pipeline.load(raw_id)
    return raw_id


def strict(pipeline: Pipeline) -> Pipeline:
    """Return the steps of a declaration that rejects all but very short descriptions."""
    entity = replace(pipeline.entity, checks=(MaxLength("description", 3),))
    return replace(pipeline, entity=entity)


def test_a_diff_shows_rows_and_money_by_currency_and_changes_nothing(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    batch(pipeline, transaction(), transaction(transaction_id="lost", amount=5, iso_currency_code="EUR"))
    pipeline.db.execute("delete from core.transactions where transaction_id = 'lost'")
    pipeline.db.execute("update core.transactions set amount = 2")
    done = etl("replay", "transactions", "--diff", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert "transactions: 2 rows would change. Nothing was changed." in done.stdout
    assert "amount 2.0000000000 → 72.1000000000" in done.stdout
    totals = [line.replace("│", " ").split() for line in done.stdout.splitlines() if "│ amount" in line]
    assert totals == [["amount", "EUR", "0", "5", "5"], ["amount", "USD", "2", "72.1", "70.1"]]
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_a_replay_of_one_batch_makes_its_rows_again_for_every_entity_that_reads_it(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    party = {"entity_id": "m1", "name": "Harbour  Deli", "type": "merchant", "website": None}
    raw_id = batch(pipeline, transaction(counterparties=[party]))
    pipeline.db.execute("delete from core.transactions")
    done = etl("replay", "--batch", str(raw_id))
    assert done.returncode == 0, done.stderr
    assert rows("select count(*) from core.transactions") == [(1,)]
    assert rows("select entity_id, name from core.merchants") == [("m1", "Harbour Deli")]


def test_a_replay_of_nothing_in_particular_is_refused(etl: Command) -> None:
    done = etl("replay", COLUMNS="200")
    assert done.returncode == 2
    assert "say what to replay" in done.stderr


def test_a_batch_that_the_entity_does_not_read_is_refused(etl: Command, pipeline: Pipeline) -> None:
    raw_id = batch(pipeline, transaction())
    done = etl("replay", "accounts", "--batch", str(raw_id))
    assert done.returncode == 1
    assert done.stderr == (
        f"error: raw batch {raw_id} was read from transactions_sync, which accounts does not read; leave one out.\n"
    )


def test_a_span_of_time_selects_the_batches_sealed_in_it(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    batch(pipeline, transaction())
    pipeline.db.execute("update etl.raw_batches set sealed_at = '2026-11-20 08:00 UTC'")
    assert "no raw batch is meant" in etl("replay", "transactions", "--since", "2026-11-20T08:01").stdout
    assert "no raw batch is meant" in etl("replay", "transactions", "--until", "2026-11-20T08:00").stdout
    assert rows("select count(*) from etl.replays") == [(0,)]
    etl("replay", "transactions", "--since", "2026-11-20T08:00", "--until", "2026-11-20T08:01")
    assert rows("select count(*) from etl.replays") == [(1,)]


def test_rejects_are_listed_with_place_and_reason(etl: Command, pipeline: Pipeline) -> None:
    raw_id = batch(strict(pipeline), transaction(name="long [red]name[/red]"), transaction(transaction_id="2"))
    listed = etl("rejects", "list", "--limit", "1", COLUMNS="200").stdout
    assert f"2: transactions, raw batch {raw_id}, page 0, added[1].name: max_length: found description" in listed
    assert "The latest 1 of 2" in listed
    told = json.loads(etl("rejects", "list", "--json").stdout)
    assert told["tallies"] == [{"entity": "transactions", "rule": "max_length", "rejects": 2}]
    assert [reject["reject_id"] for reject in told["latest"]] == [2, 1]


def test_a_reject_is_shown_with_the_record_as_sent(etl: Command, pipeline: Pipeline) -> None:
    batch(strict(pipeline), transaction(), transaction(transaction_id="second", amount=1.50))
    shown = etl("rejects", "show", "2").stdout
    assert "path: added[1].name" in shown
    assert json.loads(shown[shown.index("{") :]) == transaction(transaction_id="second", amount=1.5)
    assert etl("rejects", "show", "3").stderr.startswith("error: reject 3 is not in etl.rejects")


def test_a_reject_that_fits_now_is_loaded_by_a_retry(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    batch(strict(pipeline), transaction(), transaction(transaction_id="bad", iso_currency_code="???"))
    done = etl("rejects", "retry")
    assert done.returncode == 0, done.stderr
    assert "transactions: 2 rejects before, 1 now" in done.stdout
    assert rows("select transaction_id from core.transactions") == [(transaction()["transaction_id"],)]
    assert rows("select rule from etl.rejects") == [("iso4217",)]


def test_a_resync_of_an_account_without_a_cursor_is_a_sentence(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    batch(pipeline, transaction())
    done = etl("resync", "1", "77")
    assert done.stdout == "1 accounts are read from the beginning by the next run\n"
    assert done.returncode == 1
    assert done.stderr.startswith("error: provider accounts 77: no feed was ever loaded")
    assert rows("select reread from etl.cursors") == [(True,)]


def test_what_a_provider_sent_cannot_steer_a_terminal(etl: Command, pipeline: Pipeline) -> None:
    evil = "\x1b]0;title\x07[red]x[/red]\x9b31m\u202e\U000e0001"
    bare = {"iso_currency_code": None, "unofficial_currency_code": evil, "name": "abc"}
    batch(
        strict(pipeline),
        transaction(transaction_id="rejected", name=evil),
        transaction(transaction_id=evil, **bare),
        transaction(transaction_id="long", name="abc", merchant_name="m" * 100_000),
    )
    pipeline.db.execute("delete from core.transactions")
    commands = (("rejects", "list"), ("rejects", "show", "1"), ("replay", "transactions", "--diff"))
    done = [etl(*arguments, COLUMNS="200") for arguments in commands]
    assert [each.returncode for each in done] == [0, 0, 0]
    for each in done:
        assert all(letter.isprintable() for letter in each.stdout.replace("\n", ""))
        assert max(map(len, each.stdout.splitlines())) < 2_000
    assert "… (100,002 characters)" in done[2].stdout
    assert json.loads(done[1].stdout[done[1].stdout.index("{") :])["name"] == evil


@pytest.mark.parametrize("arguments", [("list", "--batch"), ("list", "--limit"), ("retry", "--batch")])
def test_a_number_that_no_id_can_be_is_refused(etl: Command, arguments: tuple[str, ...]) -> None:
    done = etl("rejects", *arguments, str(2**63), COLUMNS="200")
    assert done.returncode == 2
    assert f"Invalid value for '{arguments[1]}'" in done.stderr


def test_a_span_without_a_batch_is_said_to_have_none(etl: Command) -> None:
    done = etl("replay", "--since", "2030-01-01")
    assert (done.returncode, done.stdout) == (0, "no raw batch is meant\n")
