"""`sluice history` and `sluice correct`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.integration.cli.conftest import Command
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
KEY = {name: transaction()[name] for name in ("account_id", "transaction_id")}
ID = str(KEY["transaction_id"])


@pytest.fixture
def logins(pipeline: Pipeline) -> list[int]:
    """Return two logins with the same transaction, which changes and is then removed at the first."""
    logins = pipeline.enrol("one", "two")
    first, second = logins
    pipeline.load(
        pipeline.seal_pages((first, page(added=[transaction()])), (second, page(added=[transaction()])), moves=">a")
    )
    for moves, body in (("a>b", page(modified=[transaction(amount=8)])), ("b>c", page(removed=[KEY]))):
        pipeline.load(pipeline.seal_pages((first, body), moves=moves, run_id=moves, at=LATER))
    return logins


def test_history_shows_each_version_with_what_changed_and_the_correction(etl: Command, logins: list[int]) -> None:
    corrected = etl("correct", "transaction", ID, "--login", "1", "--category", "PETS", "--by", "ann")
    assert corrected.stdout == f"transaction {ID}: category = PETS\n"
    lines = etl("history", "transaction", ID, "--login", str(logins[0])).stdout.splitlines()
    assert lines[0] == "Login 1: 3 versions"
    assert f"  {FIRST:%Y-%m-%d %H:%M:%S} UTC, raw batch 1" in lines
    assert "      amount: 72.1" in lines
    assert "      amount: 72.1 → 8" in lines
    assert f"  {LATER:%Y-%m-%d %H:%M:%S} UTC, raw batch 3: removed: the provider withdrew it" in lines
    assert lines[-1].startswith("  corrected at ")
    assert lines[-1].endswith(" by ann: category = PETS")


def test_an_id_of_several_logins_is_shown_for_each_and_said(etl: Command, logins: list[int]) -> None:
    output = etl("history", "transaction", ID).stdout
    assert output.startswith("2 logins have this id: 1, 2.\nLogin 1: 3 versions\n")
    assert "\nLogin 2: 1 version\n" in output


def test_history_is_json_for_programs(etl: Command, logins: list[int]) -> None:
    etl("correct", "transaction", ID, "--login", "2", "--ignore")
    document = json.loads(etl("history", "transaction", ID, "--json").stdout)
    first, second = document["logins"]
    assert [version["raw_id"] for version in first["versions"]] == [1, 2, 3]
    assert first["versions"][1]["changes"] == {"amount": {"before": "72.1000000000", "after": "8.0000000000"}}
    assert [version["ended"] for version in first["versions"]] == [None, None, "removed: the provider withdrew it"]
    assert first["versions"][1]["superseded_at"] == first["versions"][2]["observed_at"]
    assert first["versions"][2]["superseded_at"] is None
    assert first["correction"] is None
    assert second["correction"]["is_ignored"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transaction", "unknown"), "error: transactions: no login has the id 'unknown'; check the id"),
        (("transaction", ID, "--login", "9"), "error: transactions: login 9 does not have the id"),
        (("account", "unknown"), "error: accounts: no login has the id 'unknown'"),
    ],
)
def test_an_unknown_id_is_reported_in_one_sentence(
    etl: Command, logins: list[int], arguments: tuple[str, ...], message: str
) -> None:
    result = etl("history", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(message)


def test_the_history_of_an_account_shows_why_it_is_closed(etl: Command, logins: list[int], pipeline: Pipeline) -> None:
    pipeline.db.execute(
        "insert into core.accounts (provider_account_id, account_id, balance_current, observed_at, raw_id) "
        "values (1, 'a', 5, %s, 1)",
        (FIRST,),
    )
    pipeline.db.execute("update core.accounts set closed_on = '2026-11-20', observed_at = %s, raw_id = 2", (LATER,))
    lines = etl("history", "account", "a").stdout.splitlines()
    reason = "the login's snapshot no longer had it, or a later login has it"
    assert lines[-2:] == [
        f"  {LATER:%Y-%m-%d %H:%M:%S} UTC, raw batch 2: closed on 2026-11-20: {reason}",
        "      closed_on: none → 2026-11-20",
    ]
    (login,) = json.loads(etl("history", "account", "a", "--json").stdout)["logins"]
    assert [version["values"]["balance_current"] for version in login["versions"]] == ["5.0000000000", "5.0000000000"]


def test_corrections_are_set_and_cleared_field_by_field(etl: Command, logins: list[int], rows: Rows) -> None:
    arguments = ("correct", "transaction", ID, "--login", "1")
    etl(*arguments, "--merchant", "Zoo", "--note", "cat", "--ignore")
    (correction,) = json.loads(
        etl(*arguments, "--no-ignore", "--clear", "merchant", "--clear", "note", "--category", "PETS", "--json").stdout
    )["corrections"]
    fields = [correction[name] for name in ("category", "merchant_name", "note", "is_ignored")]
    assert fields == ["PETS", None, None, False]
    assert rows("select category, merchant_name, note, is_ignored from core.corrections") == [
        ("PETS", None, None, False)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unknown", "--login", "1", "--note", "x"), "login 1 has no transaction 'unknown'; nothing was corrected"),
        ((ID, "--login", "9", "--note", "x"), "login 9 has no transaction"),
        ((ID, "--login", "1"), "the correction has no field"),
        ((ID, "--login", "1", "--note", "x", "--clear", "note"), "note is given and cleared at once"),
        ((ID, "--login", "1", "--category", "x" * 101), "category has 101 characters; shorten it to 100 at most"),
    ],
)
def test_a_wrong_correction_is_reported_in_one_sentence(
    etl: Command, logins: list[int], rows: Rows, arguments: tuple[str, ...], message: str
) -> None:
    result = etl("correct", "transaction", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert rows("select 1 from core.corrections") == []
