"""`sluice replay`, `rejects` and `resync`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.declare.check import MaxLength
from etl.sync.store import raw_batches
from tests.integration.cli.conftest import Command
from tests.integration.sync.pipeline import LATER, Pipeline
from tests.integration.sync.test_entities import account as bank_account
from tests.integration.sync.test_entities import snapshot
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]


def batch(pipeline: Pipeline, *records: dict[str, object]) -> int:
    (account,) = pipeline.enrol("one")
    raw_id = pipeline.seal_pages((account, page(added=list(records))))
    pipeline.load(raw_id)
    return raw_id


def rejects_of_transactions(etl: Command) -> int:
    entities = json.loads(etl("status", "--json").stdout)["entities"]
    return next(int(each["rejects"]) for each in entities if each["entity"] == "transactions")


def strict(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline of a declaration that rejects all but very short descriptions."""
    declared = pipeline.entity.columns
    columns = (replace(column, required=True) if column.name == "description" else column for column in declared)
    entity = replace(pipeline.entity, columns=tuple(columns), checks=(MaxLength("description", 3),))
    return replace(pipeline, entity=entity)


def test_a_diff_shows_rows_and_money_by_currency_and_changes_nothing(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    batch(pipeline, transaction(), transaction(transaction_id="lost", amount=5, iso_currency_code="EUR"))
    pipeline.db.execute("delete from core.transactions where transaction_id = 'lost'")
    pipeline.db.execute("update core.transactions set amount = 2")
    result = etl("replay", "transactions", "--diff", COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert "transactions: 2 rows would change. Nothing was changed." in result.stdout
    assert "amount 2.0000000000 → 72.1000000000" in result.stdout
    totals = [line.split() for line in result.stdout.splitlines() if line.startswith(" amount ")]
    assert totals == [["amount", "EUR", "0", "5", "5"], ["amount", "USD", "2", "72.1", "70.1"]]
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_a_diff_shows_which_rows_would_end(etl: Command, pipeline: Pipeline) -> None:
    (account,) = pipeline.enrol("one")
    pending = transaction(transaction_id="held", pending=True, amount=5)
    pipeline.load(pipeline.seal_pages((account, page(added=[pending]))))
    posted = transaction(pending_transaction_id="held", amount=5)
    pipeline.load(pipeline.seal_pages((account, page(added=[posted])), moves="a>b", at=LATER))
    pipeline.db.execute("update core.transactions set removed_at = null, removed_for = null")
    result = etl("replay", "transactions", "--diff", COLUMNS="200")
    assert "- 1/held: removed_at nothing → 2026-11-20 09:00:00+00:00" in result.stdout
    assert "transactions: 1 rows would change." in result.stdout
    totals = [line.split() for line in result.stdout.splitlines() if line.startswith(" amount ")]
    assert totals == [["amount", "USD", "10", "5", "-5"]]


def test_a_diff_shows_which_accounts_would_close_and_open_again(etl: Command, pipeline: Pipeline) -> None:
    (login,) = pipeline.enrol("one")
    pipeline.entity, pipeline.source = ACCOUNTS, "accounts_get"
    both = snapshot(bank_account(account_id="kept"), bank_account(account_id="gone"))
    pipeline.load(pipeline.seal_pages((login, both), moves=">"))
    pipeline.load(pipeline.seal_pages((login, snapshot(bank_account(account_id="kept"))), moves=">", at=LATER))
    pipeline.db.execute("update core.accounts set closed_on = case when account_id = 'kept' then date '2026-11-19' end")
    result = etl("replay", "accounts", "--diff", COLUMNS="200")
    assert "- 1/gone: closed_on nothing → 2026-11-20" in result.stdout
    assert "~ 1/kept: closed_on 2026-11-19 → nothing" in result.stdout
    assert "accounts: 2 rows would change." in result.stdout


def test_a_diff_is_json_for_programs(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    raw_id = batch(pipeline, transaction(), transaction(transaction_id="lost", amount=5, iso_currency_code="EUR"))
    pipeline.db.execute("delete from core.transactions where transaction_id = 'lost'")
    pipeline.db.execute("update core.transactions set amount = 2")
    document = json.loads(etl("replay", "transactions", "--diff", "--rows", "1", "--json").stdout)
    assert document["dry_run"] is True
    (entity,) = document["entities"]
    assert (entity["entity"], entity["failed"], entity["changed_rows"]) == ("transactions", [], 2)
    assert [(each["raw_id"], each["read"]) for each in entity["batches"]] == [(raw_id, 2)]
    (change,) = entity["changes"]
    assert change["key"]["transaction_id"] == transaction()["transaction_id"]
    assert (change["before"]["amount"], change["after"]["amount"]) == ("2.0000000000", "72.1000000000")
    assert entity["money"][1] == {
        "column": "amount",
        "currency": "USD",
        "before": "2.0000000000",
        "after": "72.1000000000",
        "difference": "70.1000000000",
    }
    assert rows("select amount::int from core.transactions") == [(2,)]


def test_a_replay_is_json_for_programs_and_failed_batches_are_reported_on_the_error_stream(
    etl: Command, pipeline: Pipeline
) -> None:
    (account,) = pipeline.enrol("one")
    first = pipeline.seal_pages((account, page(added=[transaction()])), moves=">a")
    second = pipeline.seal_pages((account, page(modified=[transaction()])), moves="a>b", at=LATER)
    for raw_id in (first, second):
        pipeline.load(raw_id)
    (pipeline.root / raw_batches.find(pipeline.db, first).path).unlink()
    result = etl("replay", "transactions", "--json")
    assert result.returncode == 1
    assert f"transactions: raw batch {first} was not replayed: " in result.stderr
    document = json.loads(result.stdout)
    (entity,) = document["entities"]
    assert document["dry_run"] is False
    assert entity.keys() == {"entity", "batches", "totals", "failed"}
    assert [each["raw_id"] for each in entity["batches"]] == [second]
    assert (entity["totals"]["read"], entity["totals"]["unchanged"]) == (1, 1)
    assert [each["raw_id"] for each in entity["failed"]] == [first]


def test_a_replay_of_one_batch_restores_its_rows_for_every_entity_that_reads_it(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    party = {"entity_id": "m1", "name": "Harbour  Deli", "type": "merchant", "website": None}
    raw_id = batch(pipeline, transaction(counterparties=[party]))
    pipeline.db.execute("delete from core.transactions")
    result = etl("replay", "--batch", str(raw_id))
    assert result.returncode == 0, result.stderr
    assert rows("select count(*) from core.transactions") == [(1,)]
    assert rows("select entity_id, name from core.merchants") == [("m1", "Harbour Deli")]


def test_a_replay_without_a_selection_is_refused(etl: Command) -> None:
    result = etl("replay", COLUMNS="200")
    assert result.returncode == 2
    assert "say what to replay" in result.stderr


def test_a_batch_that_the_entity_does_not_read_is_refused(etl: Command, pipeline: Pipeline) -> None:
    raw_id = batch(pipeline, transaction())
    result = etl("replay", "accounts", "--batch", str(raw_id))
    assert result.returncode == 1
    assert result.stderr == (
        f"error: raw batch {raw_id} was read from transactions_sync, which accounts does not read; "
        "omit the batch or the entity.\n"
    )


def test_a_span_of_time_selects_the_batches_sealed_in_it(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    batch(pipeline, transaction())
    pipeline.db.execute("update etl.raw_batches set sealed_at = '2026-11-20 08:00 UTC'")
    assert "no raw batch matches" in etl("replay", "transactions", "--since", "2026-11-20T08:01").stdout
    assert "no raw batch matches" in etl("replay", "transactions", "--until", "2026-11-20T08:00").stdout
    assert rows("select count(*) from etl.replays") == [(0,)]
    empty = etl("replay", "--since", "2030-01-01", "--json")
    assert (empty.returncode, json.loads(empty.stdout)) == (0, {"dry_run": False, "entities": []})
    etl("replay", "transactions", "--since", "2026-11-20T08:00", "--until", "2026-11-20T08:01")
    assert rows("select count(*) from etl.replays") == [(1,)]


def test_rejects_are_listed_with_place_and_reason(etl: Command, pipeline: Pipeline) -> None:
    raw_id = batch(strict(pipeline), transaction(name="long [red]name[/red]"), transaction(transaction_id="z"))
    listed = etl("rejects", "list", "--limit", "1", COLUMNS="200").stdout
    assert f"2: transactions, raw batch {raw_id}, page 0, added[1].name: max_length: found description" in listed
    assert "The latest 1 of 2" in listed
    document = json.loads(etl("rejects", "list", "--json").stdout)
    assert document["tallies"] == [{"entity": "transactions", "rule": "max_length", "rejects": 2}]
    assert [reject["reject_id"] for reject in document["latest"]] == [2, 1]


def test_a_reject_is_shown_with_the_record_as_sent(etl: Command, pipeline: Pipeline) -> None:
    batch(strict(pipeline), transaction(), transaction(transaction_id="second", amount=1.50))
    output = etl("rejects", "show", "2").stdout
    assert "path: added[1].name" in output
    record = transaction(transaction_id="second", amount=1.5)
    assert json.loads(output[output.index("{") :]) == record
    document = json.loads(etl("rejects", "show", "2", "--json").stdout)
    assert (document["reject_id"], document["path"], document["record"]) == (2, "added[1].name", record)
    assert etl("rejects", "show", "3").stderr.startswith("error: reject 3 is not in etl.rejects")


def test_a_retry_loads_a_record_that_is_valid_now(etl: Command, pipeline: Pipeline, rows: Rows) -> None:
    batch(strict(pipeline), transaction(), transaction(transaction_id="bad", iso_currency_code="???"))
    result = etl("rejects", "retry")
    assert result.returncode == 0, result.stderr
    assert "transactions: 2 rejects before, 1 now" in result.stdout
    assert rows("select transaction_id from core.transactions") == [(transaction()["transaction_id"],)]
    assert rows("select rule, closed_at is null, closed_by from etl.rejects order by 1") == [
        ("iso4217", True, None),
        ("max_length", False, 1),
    ]
    document = json.loads(etl("rejects", "retry", "--entity", "transactions", "--json").stdout)
    (entity,) = document["entities"]
    assert (entity["entity"], entity["rejects_before"], entity["rejects_after"]) == ("transactions", 1, 1)
    assert (entity["totals"]["rejected"], entity["failed"]) == (1, [])


def test_a_record_that_failed_often_is_listed_once_and_a_closed_reject_by_request(
    etl: Command, pipeline: Pipeline
) -> None:
    (account,) = pipeline.enrol("one")
    records = [transaction(transaction_id="often", amount="?"), transaction(name="long")]
    for number in range(3):
        last = strict(pipeline).seal_pages(
            (account, page(added=records)), run_id=f"run {number}", moves=f"{'a' * number}>{'a' * (number + 1)}"
        )
        pipeline.load(last)
    assert "added[0].amount: type: Invalid decimal string (3 times)\n" in etl("rejects", "list", COLUMNS="200").stdout
    assert rejects_of_transactions(etl) == 2
    pipeline.replay(last)
    (reject,) = json.loads(etl("rejects", "list", "--json").stdout)["latest"]
    assert (reject["record_id"], reject["failures"], reject["closed_at"]) == ("often", 3, None)
    (closed,) = json.loads(etl("rejects", "list", "--closed", "--json").stdout)["latest"]
    assert (closed["rule"], closed["failures"], closed["closed_at"] is None) == ("max_length", 3, False)
    assert rejects_of_transactions(etl) == 1


def test_bad_fields_of_loaded_records_are_listed_with_an_example(etl: Command, pipeline: Pipeline) -> None:
    assert etl("rejects", "warnings").stdout == "No field was bad.\n"
    odd = {"datetime": "", "name": "nul\0 \x1b]0;title\x07"}
    raw_id = batch(
        pipeline, transaction(), transaction(transaction_id="2", **odd), transaction(transaction_id="3", datetime="")
    )
    lines = [line.split() for line in etl("rejects", "warnings", COLUMNS="200").stdout.splitlines()]
    assert ["transactions", "added[].datetime", "type", "2", "1", '""'] in lines
    (first, second) = json.loads(etl("rejects", "warnings", "--json").stdout)["warnings"]
    expected: dict[str, object] = {"entity": "transactions", "path": "added[].datetime", "rule": "type", "records": 2}
    assert first == {**expected, "logins": 1, "raw_id": raw_id, "found": '""'}
    assert (second["rule"], second["found"]) == ("nul", "nul\\0 \x1b]0;title\x07")
    for arguments in (("--limit", "1"), ("--batch", str(raw_id)), ("--entity", "accounts")):
        found = json.loads(etl("rejects", "warnings", "--json", *arguments).stdout)["warnings"]
        assert len(found) == {"--limit": 1, "--batch": 2, "--entity": 0}[arguments[0]]


def test_a_resync_of_an_account_without_a_cursor_is_reported_in_one_sentence(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    batch(pipeline, transaction())
    result = etl("resync", "1", "77")
    assert result.stdout == "the next run reads 1 accounts from the beginning\n"
    assert result.returncode == 1
    assert result.stderr.startswith("error: provider accounts 77: no feed was ever loaded")
    again = etl("resync", "1", "77", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (1, {"requested": [1], "without_cursor": [77]})
    assert rows("select reread from etl.cursors") == [(True,)]


def test_rows_that_a_full_read_lacks_wait_are_approved_and_brought_back(
    etl: Command, pipeline: Pipeline, rows: Rows
) -> None:
    kept = transaction(transaction_id="kept", date="2026-01-01")
    batch(pipeline, kept, *(transaction(transaction_id=f"t{number}") for number in range(6)))
    read = pipeline.seal_pages((1, page(added=[kept])), moves="a>b", at=LATER, run_id="again", whole=True)
    pipeline.load(read)
    live = "select count(*)::int from core.transactions where removed_at is null"
    prefix = f"transactions: raw batch {read}: provider account 1: 6 of 7 live rows are absent and "
    assert etl("resync", "--show").stdout == f"{prefix}wait for approval\n"
    (shown,) = json.loads(etl("resync", "--show", "--json").stdout)["reconciliations"]
    assert (shown["provider_account_id"], shown["state"], shown["live"], shown["absent"]) == (1, "pending", 7, 6)
    assert etl("resync", "--approve", "1").stdout == f"{prefix}ended\n"
    assert rows(live) == [(1,)]
    again = etl("resync", "--approve", "1")
    assert (again.returncode, again.stderr.partition(";")[0]) == (
        1,
        "error: provider accounts 1: no row waits for approval",
    )
    (revoked,) = json.loads(etl("resync", "--revoke", "1", "--json").stdout)["reconciliations"]
    assert revoked["state"] == "revoked"
    assert rows(live) == [(7,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say which accounts"),
        (("--approve",), "say which accounts"),
        (("--show", "1"), "--show takes no accounts"),
        (("--show", "--approve"), "exclude each other"),
    ],
)
def test_a_resync_that_does_not_say_what_to_do_is_refused(
    etl: Command, arguments: tuple[str, ...], message: str
) -> None:
    result = etl("resync", *arguments, COLUMNS="200")
    assert result.returncode == 2
    assert message in result.stderr


def test_the_status_counts_a_record_that_failed_twice_once_and_none_that_was_loaded_since(
    etl: Command, pipeline: Pipeline
) -> None:
    wrong = transaction(transaction_id="bad", iso_currency_code="???")
    batch(pipeline, wrong)
    again = pipeline.seal_pages((1, page(modified=[wrong])), moves="a>b", at=LATER, run_id="again")
    pipeline.load(again)
    assert rejects_of_transactions(etl) == 1
    good = page(modified=[transaction(transaction_id="bad")])
    pipeline.load(pipeline.seal_pages((1, good), moves="b>c", at=LATER, run_id="good"))
    assert rejects_of_transactions(etl) == 0


def test_text_of_a_provider_cannot_control_a_terminal(etl: Command, pipeline: Pipeline) -> None:
    evil = "\x1b]0;title\x07[red]x[/red]\x9b31m\u202e\U000e0001"
    bare = {"iso_currency_code": None, "unofficial_currency_code": evil, "name": "abc"}
    batch(
        strict(pipeline),
        transaction(transaction_id="rejected", name=evil),
        transaction(transaction_id=evil, **bare),
        transaction(transaction_id="long", name="abc", merchant_name="m" * 400),
    )
    pipeline.db.execute("delete from core.transactions")
    commands = (("rejects", "list"), ("rejects", "show", "1"), ("replay", "transactions", "--diff"))
    results = [etl(*arguments, COLUMNS="200") for arguments in commands]
    assert [each.returncode for each in results] == [0, 0, 0]
    for each in results:
        assert all(character.isprintable() for character in each.stdout.replace("\n", ""))
        assert max(map(len, each.stdout.splitlines())) < 2_000
    assert "… (402 characters)" in results[2].stdout
    assert json.loads(results[1].stdout[results[1].stdout.index("{") :])["name"] == evil
    documents = [etl(*arguments, "--json").stdout for arguments in commands]
    assert all(document.isascii() and document.replace("\n", "").isprintable() for document in documents)
    assert json.loads(documents[1])["record"]["name"] == evil


@pytest.mark.parametrize("arguments", [("list", "--batch"), ("list", "--limit"), ("retry", "--batch")])
def test_a_number_beyond_the_largest_id_is_refused(etl: Command, arguments: tuple[str, ...]) -> None:
    result = etl("rejects", *arguments, str(2**63), COLUMNS="200")
    assert result.returncode == 2
    assert f"Invalid value for '{arguments[1]}'" in result.stderr


def test_a_time_span_without_batches_is_reported(etl: Command) -> None:
    result = etl("replay", "--since", "2030-01-01")
    assert (result.returncode, result.stdout) == (0, "no raw batch matches\n")
