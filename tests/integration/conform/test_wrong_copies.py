"""Copies of a declaration that are wrong on purpose are caught by the behaviour that they break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.conform import documented, kit
from etl.conform.kit import NothingToPlay, Provided
from etl.conform.verdict import Result, find_wrong
from etl.db.connection import connect
from etl.declare.api.paging import Flag
from etl.declare.entity import Entity
from etl.declare.provider import ErrorAction
from etl.settings import Endpoint
from tests.integration.conform.conftest import Played


def without_rules(action: ErrorAction) -> Entity:
    errors = tuple(rule for rule in PLAID.errors if rule.action is not action)
    return replace(TRANSACTIONS, provider=replace(PLAID, errors=errors))


def with_source(**changes: object) -> Entity:
    return replace(TRANSACTIONS, source=replace(TRANSACTIONS_SYNC, **changes))  # type: ignore[arg-type]


WRONG_COPIES = {
    "no rule restarts the feed": (without_rules(ErrorAction.RESTART_FEED), "changed while read", "RESTART_FEED"),
    "no rule stops a login": (without_rules(ErrorAction.STOP_ACCOUNT), "login needed", "STOP_ACCOUNT"),
    "more has a wrong path": (with_source(more="has_mor"), kit.UNDISTURBED, "more names 'has_mor'"),
    "more is read the other way round": (with_source(more=Flag("has_more", more=False)), kit.UNDISTURBED, "`more`"),
    "cursor is another text": (with_source(cursor="request_id"), kit.UNDISTURBED, "404"),
    "a list has a wrong path": (with_source(upserts=("new[]", "modified[]")), kit.UNDISTURBED, "names 'new'"),
    "a list is not read": (with_source(upserts=("added[]",)), kit.LISTS, "modified[]"),
    "removals are not read": (replace(with_source(deletes=()), name="moves"), "record removed", "removed[]"),
    "the key is not unique": (
        replace(TRANSACTIONS, key=("provider_account_id", "account_id"), replaces=None),
        kit.KEY,
        "would be one row",
    ),
    "a column is required that is not": (
        replace(
            TRANSACTIONS,
            columns=tuple(
                replace(each, required=True) if each.name == "dated_at" else each for each in TRANSACTIONS.columns
            ),
        ),
        kit.UNDISTURBED,
        "`columns`",
    ),
}
"""What is wrong → the copy, the behaviour that shows it, and what the verdict says."""


@pytest.mark.parametrize("name", WRONG_COPIES)
def test_a_wrong_copy_is_caught_by_the_behaviour_that_it_breaks(name: str, played: Played, server: Endpoint) -> None:
    entity, behaviour, said = WRONG_COPIES[name]
    verdicts = kit.conform([entity], Provided(recording=played.recording), server=server, only=[behaviour])
    (wrong,) = find_wrong(verdicts)
    assert (wrong.behaviour, said in wrong.reason) == (behaviour, True), wrong.reason


@pytest.mark.parametrize(
    ("code", "behaviour", "found"),
    [
        (
            "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION",
            "changed while read",
            "left out as 'refused' (/transactions/sync answered TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION, HTTP 40",
        ),
        ("ITEM_LOGIN_REQUIRED", "login needed", "'active' instead of 'needs_login'; the run left it out as 'refused'"),
    ],
)
def test_a_rule_with_a_wrong_code_is_caught_by_the_documented_error(
    code: str, behaviour: str, found: str, played: Played, server: Endpoint
) -> None:
    errors = tuple(
        replace(rule, code=f"{code}S") if rule.code == code else rule
        for rule in PLAID.errors
        if rule.code != "ITEM_ERROR"
    )
    entity = replace(TRANSACTIONS, provider=replace(PLAID, errors=errors))
    provided = Provided(recording=played.recording, documented=documented.load(played.recording / "documented.json"))
    assert find_wrong(kit.conform([entity], replace(provided, documented={}), server=server, only=[behaviour])) == []
    (wrong,) = find_wrong(kit.conform([entity], provided, server=server, only=[behaviour]))
    assert found in wrong.reason


def test_a_behaviour_that_a_provider_never_shows_is_not_held_against_it(played: Played, server: Endpoint) -> None:
    verdicts = kit.conform(
        [without_rules(ErrorAction.RESTART_FEED)],
        Provided(recording=played.recording),
        server=server,
        without=["changed while read"],
        only=["changed while read"],
    )
    (_, never) = verdicts
    assert (never.result, never.reason) == (
        Result.NOT_APPLICABLE,
        "you say that the provider never does this (--without)",
    )


def test_the_command_prints_verdicts_and_exits_with_1_if_one_is_wrong(
    played: Played, stack: Stack, tmp_path: Path
) -> None:
    for name, old, new in (("accounts_get", '"accounts":[', '"items":['), ("transactions_sync", "", "")):
        text = (played.recording / f"{name}.json").read_text()
        (tmp_path / f"{name}.json").write_text(text.replace(old, new) if old else text)
    command = ["-m", "etl", "conform", "plaid", "--recording", str(tmp_path), "--only", "server error", "--json"]
    environment = {**os.environ, **stack.environment}
    result = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (result.returncode, result.stderr) == (1, "")
    accounts, transactions, played_of_transactions = json.loads(result.stdout)["verdicts"]
    assert accounts == {
        "entity": "accounts",
        "behaviour": kit.UNDISTURBED,
        "result": "wrong",
        "reason": "upserts names 'accounts', where the pages have nothing; they have items, item, request_id; name the "
        "path that they have",
    }
    assert transactions["reason"].endswith("rows of 2 logins from 7 pages")
    assert (played_of_transactions["behaviour"], played_of_transactions["result"]) == ("server error", "ok")


def test_an_unknown_behaviour_is_refused(server: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(NothingToPlay, match="'login neded' is no behaviour; it is one of undisturbed read, "):
        kit.conform([TRANSACTIONS], Provided(recording=tmp_path), server=server, only=["login neded"])


def test_scratch_databases_are_dropped(played: Played, server: Endpoint) -> None:
    with connect(server) as db:
        names = db.execute("select datname from pg_database where datname like 'sluice_conform%'").fetchall()
    assert names == []
