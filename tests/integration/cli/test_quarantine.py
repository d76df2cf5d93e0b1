"""`sluice quarantine`: list, show and accept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from etl.sync.store import interruptions
from tests.integration.cli.conftest import Command
from tests.integration.sync.pipeline import Pipeline
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
PATH = "added[].iso_currency_code"


@pytest.fixture
def quarantined(pipeline: Pipeline) -> list[int]:
    """Return three logins, of which the first two are quarantined."""
    accounts = pipeline.enrol("one", "two", "three")
    bad = [transaction(transaction_id=f"b{number}", iso_currency_code="???") for number in range(30)]
    good = [transaction(transaction_id=f"g{number}") for number in range(5)]
    pages = [(account, page(added=records)) for account, records in zip(accounts, (bad + good, bad, good), strict=True)]
    pipeline.load(pipeline.seal_pages(*pages))
    return accounts


def test_quarantined_logins_are_listed_with_path_and_rule(etl: Command, quarantined: list[int]) -> None:
    listed = etl("quarantine", "list", COLUMNS="200")
    assert listed.returncode == 0, listed.stderr
    lines = [" ".join(line.split()) for line in listed.stdout.splitlines() if PATH in line]
    assert [line.partition(f" at {PATH} ")[0] for line in lines] == [
        "1 transactions 1 30 of 35 records rejected, mostly iso4217",
        "2 transactions 1 30 of 30 records rejected, mostly iso4217",
    ]
    (first, second) = json.loads(etl("quarantine", "list", "--json").stdout)
    assert (first["provider_account_id"], second["provider_account_id"]) == (1, 2)
    assert (first["raw_id"], first["read"], first["rejected"], first["failures"]) == (1, 35, 30, 1)
    assert json.loads(etl("quarantine", "list", "--entity", "accounts", "--json").stdout) == []
    assert etl("quarantine", "list", "--entity", "accounts").stdout == "No login is quarantined.\n"


def test_a_quarantined_login_is_shown_with_what_can_be_done(etl: Command, quarantined: list[int]) -> None:
    shown = etl("quarantine", "show", "1")
    assert shown.returncode == 0, shown.stderr
    assert f"path: {PATH}" in shown.stdout
    commands = re.findall(r"`(sluice [^`]+)`", shown.stdout)
    assert commands == [
        "sluice rejects list --entity transactions --batch 1",
        "sluice rejects retry --entity transactions --batch 1",
        "sluice quarantine accept 1 --entity transactions",
    ]
    assert [etl(*command.split()[1:]).returncode for command in commands] == [0, 0, 0]
    (document,) = json.loads(etl("quarantine", "show", "2", "--json").stdout)
    assert (document["entity"], document["rule"]) == ("transactions", "iso4217")
    missing = etl("quarantine", "show", "3")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: provider account 3 is not quarantined; see `sluice quarantine list`")


@pytest.fixture
def killed(quarantined: list[int], pipeline: Pipeline) -> int:
    """Return a login whose pages of raw batch 1 killed the process."""
    interruptions.quarantine(pipeline.db, quarantined[2], entity="transactions", source="transactions_sync", raw_id=1)
    return quarantined[2]


def test_a_login_that_killed_its_process_is_told_apart_and_cannot_be_accepted(
    etl: Command, killed: int, rows: Rows
) -> None:
    (listed,) = [line for line in etl("quarantine", "list", COLUMNS="200").stdout.splitlines() if "killed" in line]
    assert " ".join(listed.split()).startswith("3 transactions 1 its pages killed the process twice 20")
    in_logins = etl("logins", "list", COLUMNS="200").stdout
    assert "transactions: its pages killed the process twice" in in_logins
    assert "0 of 0" not in in_logins
    shown = etl("quarantine", "show", "3").stdout
    replay = "`sluice replay transactions --batch 1`"
    for fragment in ("reason: its pages killed the process twice", "memory cap", replay):
        assert fragment in shown
    assert "quarantine accept" not in shown
    assert "transactions, since" in etl("logins", "show", "3").stdout
    accepted = etl("quarantine", "accept", "3", "--json")
    assert accepted.returncode == 1
    assert "none of its records was typed" in accepted.stderr
    document = json.loads(accepted.stdout)
    assert (document["accepted"], document["not_quarantined"]) == ([], [])
    assert [each["provider_account_id"] for each in document["failed"]] == [3]
    assert rows("select count(*) from etl.quarantines") == [(3,)]


def test_accepted_logins_are_loaded_without_their_bad_records(etl: Command, quarantined: list[int], rows: Rows) -> None:
    accepted = etl("quarantine", "accept", "1", "3")
    assert (accepted.returncode, accepted.stderr) == (0, "provider account 3 is not quarantined\n")
    assert accepted.stdout == "transactions, provider account 1: 35 records: 5 inserted, 30 rejected\n"
    document = json.loads(etl("quarantine", "accept", "1", "2", "2", "--entity", "transactions", "--json").stdout)
    assert document["not_quarantined"] == [1]
    assert document["failed"] == []
    ((accepted_login),) = document["accepted"]
    assert (accepted_login["provider_account_id"], accepted_login["inserted"], accepted_login["rejected"]) == (2, 0, 30)
    assert rows("select inserted, rejected, quarantined from etl.loads") == [(10, 60, 0)]
    assert rows("select count(*) from etl.cursors where value = 'a'") == [(3,)]


def test_a_login_that_cannot_be_accepted_fails_with_what_to_do_and_the_others_are_accepted(
    etl: Command, quarantined: list[int], pipeline: Pipeline, rows: Rows
) -> None:
    pipeline.db.execute("update etl.cursors set value = 'moved' where provider_account_id = 1")
    result = etl("quarantine", "accept", "1", "2", "--json")
    assert result.returncode == 1
    assert "another batch moved its cursor first; trigger etl_transactions" in result.stderr
    document = json.loads(result.stdout)
    assert [each["provider_account_id"] for each in document["accepted"]] == [2]
    assert [(each["provider_account_id"], each["entity"]) for each in document["failed"]] == [(1, "transactions")]
    assert rows("select provider_account_id from etl.quarantines") == [(1,)]
