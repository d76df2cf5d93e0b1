"""`sluice link` and `sluice logins`: states of logins at a glance, and changed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection
from etl.settings import Endpoint
from tests.integration.cli.conftest import Command

Rows = Callable[..., list[tuple[object, ...]]]
STATES = "select provider_account_id, state, state_reason from core.provider_accounts order by 1"


def public_token(bank: Endpoint, number: int) -> str:
    response = httpx.post(
        f"{bank.host}/sandbox/public_token/create",
        json={
            "institution_id": "ins_109508",
            "initial_products": ["transactions"],
            "options": {"override_username": f"user_{number}"},
        },
        headers={"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password},
        trust_env=False,
    )
    return str(response.raise_for_status().json()["public_token"])


@pytest.fixture
def five(db: Connection) -> Connection:
    """Return the warehouse with a login in each state, of two users: 1 active to 5 replaced; 6 replaced it."""
    db.execute("insert into core.users (reference) values ('ann'), ('bob')")
    db.execute(
        "insert into core.provider_accounts "
        "(user_id, provider, item_id, access_token, state, state_reason, institution_name, next_try_at, replaced_by) "
        "values (1, 'plaid', 'a', 'x', 'active', null, 'First Bank', null, null), "
        "(1, 'plaid', 'b', 'x', 'needs_login', 'ITEM_LOGIN_REQUIRED', null, now(), null), "
        "(2, 'plaid', 'c', 'x', 'suspended', 'asked', null, null, null), "
        "(2, 'plaid', 'd', null, 'unlinked', 'gone', null, null, null), "
        "(1, 'plaid', 'e', 'x', 'replaced', null, null, null, 1), "
        "(1, 'plaid', 'f', 'x', 'active', null, null, null, null)"
    )
    return db


@pytest.fixture
def quarantined(five: Connection) -> Connection:
    """Return the warehouse where login 1 was loaded, skipped and quarantined, and waits for an approval."""
    five.execute(
        "insert into etl.chunks (entity, run_id, ordinal, start, stop, page_size, attempts) "
        "values ('transactions', 'monday', 0, 1, 7, 500, 1), ('transactions', 'tuesday', 0, 1, 7, 500, 1)"
    )
    five.execute(
        "insert into etl.raw_batches "
        "(source, chunk_id, attempt, content_hash, path, accounts, pages, bytes, sealed_at) "
        "select 'transactions_sync', chunk_id, 1, '', '', 0, 0, 0, now() + interval '1 second' from etl.chunks"
    )
    five.execute("insert into etl.loads select raw_id, 'transactions', 1, 0, 0, 0, 0, 0, 0, 0, 0 from etl.raw_batches")
    five.execute("insert into etl.left_out values (2, 1, 1, 'quarantined', '21 of 30 records rejected')")
    five.execute(
        "insert into etl.quarantines (provider_account_id, entity, source, raw_id, read, rejected, path, rule, reason) "
        "values (1, 'transactions', 'transactions_sync', 2, 30, 21, 'added[].amount', 'decimal', "
        "'21 of 30 records rejected, mostly decimal at added[].amount')"
    )
    five.execute("insert into etl.cursors values (1, 'transactions_sync', 'secret-cursor', 1, now())")
    five.execute(
        "insert into core.accounts (provider_account_id, account_id, name, mask, currency, observed_at, raw_id) "
        "values (1, 'acc', 'Giro\x1b[31m', '1234', 'EUR', now(), 1)"
    )
    five.execute(
        "insert into etl.reconciliations (raw_id, entity, provider_account_id, state, live, absent) "
        "values (1, 'transactions', 1, 'pending', 100, 60)"
    )
    five.execute(
        "insert into etl.field_warnings values (1, 'transactions', %s, 1, 'added[].datetime', 'instant', 7, 0, '')",
        [TRANSACTIONS.version],
    )
    five.execute(
        "insert into etl.rejects (raw_id, entity, version, provider_account_id, line, path, rule, reason, closed_at) "
        "select 1, 'transactions', %s, 1, 0, '', 'decimal', '', c from (values (null), (now())) as t (c)",
        [TRANSACTIONS.version],
    )
    return five


def test_linking_stores_bank_and_history_and_reactivates_a_login(etl: Command, bank: Endpoint, rows: Rows) -> None:
    link = ("link", "--provider", "plaid", "--user", "ann", "--public-token")
    assert etl(*link, public_token(bank, 4)).stdout == "provider account 1\n"
    ((name, days),) = rows("select institution_name, history_days from core.provider_accounts")
    assert name
    assert days == 730
    assert etl("logins", "stop", "1", "--reason", "asked").returncode == 0
    assert etl(*link, public_token(bank, 4), "--history-days", "90").returncode == 0
    assert rows("select state, history_days, token_version from core.provider_accounts") == [("active", 90, 2)]


def test_a_list_shows_state_reason_and_next_try_in_bounded_pages(etl: Command, quarantined: Connection) -> None:
    listed = json.loads(etl("logins", "list", "--json", "--limit", "4").stdout)
    assert [(each["login"], each["state"], each["reason"]) for each in listed["logins"]] == [
        (1, "quarantined", "transactions: 21 of 30 records rejected, mostly decimal at added[].amount"),
        (2, "needs_login", "ITEM_LOGIN_REQUIRED"),
        (3, "suspended", "asked"),
        (4, "unlinked", "gone"),
    ]
    assert [each["next_try_at"] is None for each in listed["logins"]] == [True, False, True, True]
    assert listed["after"] == 4
    rest = json.loads(etl("logins", "list", "--json", "--after", "4", "--limit", "2").stdout)
    assert ([each["login"] for each in rest["logins"]], rest["after"]) == ([5, 6], None)
    shown = etl("logins", "list", "--limit", "1").stdout
    assert "First Bank" in shown
    assert "There are more; see them with --after 1." in shown


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--state", "active"), [6]),
        (("--state", "quarantined"), [1]),
        (("--state", "needs_login"), [2]),
        (("--state", "replaced"), [5]),
        (("--user", "bob"), [3, 4]),
        (("--user", "bob", "--state", "suspended"), [3]),
        (("--user", "nobody"), []),
    ],
)
def test_a_list_is_filtered_by_state_and_user(
    etl: Command, quarantined: Connection, options: tuple[str, ...], expected: list[int]
) -> None:
    listed = json.loads(etl("logins", "list", "--json", *options).stdout)
    assert [each["login"] for each in listed["logins"]] == expected


def test_showing_a_login_tells_what_was_loaded_and_what_waits_and_no_secret(
    etl: Command, quarantined: Connection
) -> None:
    shown = json.loads(etl("logins", "show", "1", "--json").stdout)
    assert shown["login"]["state"] == "quarantined"
    assert (shown["details"]["item_id"], shown["details"]["replaces"]) == ("a", [5])
    assert [(each["feed"], each["raw_id"]) for each in shown["cursors"]] == [("transactions_sync", 1)]
    assert [(each["run_id"], each["raw_id"]) for each in shown["loads"]] == [("monday", 1)]
    assert [(each["run_id"], each["outcome"]) for each in shown["skips"]] == [("tuesday", "quarantined")]
    assert [each["account_id"] for each in shown["accounts"]] == ["acc"]
    assert [(each["rejected"], each["rule"]) for each in shown["quarantines"]] == [(21, "decimal")]
    assert [(each["absent"], each["live"]) for each in shown["reconciliations"]] == [(60, 100)]
    output = etl("logins", "show", "1").stdout
    for fragment in ("institution_name: First Bank", "replaces: 5", "60 of 100 rows", "raw batch 1, run monday"):
        assert fragment in output
    assert "\x1b" not in output
    assert "secret-cursor" not in output + json.dumps(shown)
    assert "replaced_by: 1" in etl("logins", "show", "5").stdout


@pytest.mark.parametrize(
    ("command", "after"), [("resume", "active"), ("stop", "suspended"), ("stop --retry", "needs_login")]
)
def test_a_command_changes_the_logins_that_it_can_and_names_the_others(
    etl: Command, five: Connection, rows: Rows, command: str, after: str
) -> None:
    changed, unchanged = [1, 2, 3], {4: "unlinked", 5: "replaced"}
    result = etl("logins", *command.split(), "1", "2", "3", "4", "5", "--json")
    assert result.returncode == 1
    answer = json.loads(result.stdout)
    assert answer["changed"] == changed
    assert {each["login"]: each["error"].split(", ")[0] for each in answer["failed"]} == {
        login: f"it is {state}" for login, state in unchanged.items()
    }
    states = {login: state for login, state, _ in rows(STATES)}
    assert {states[login] for login in changed} == {after}
    assert {login: states[login] for login in unchanged} == unchanged
    again = etl("logins", *command.split(), "1", "2", "3")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "".join(f"Login {login}: {after}.\n" for login in changed)


def test_stopping_keeps_why_and_resuming_forgets_it(etl: Command, five: Connection, rows: Rows) -> None:
    etl("logins", "stop", "1", "2", "--reason", "asked by ann")
    assert [(state, reason) for _, state, reason in rows(STATES)[:2]] == [("suspended", "asked by ann")] * 2
    etl("logins", "resume", "1", "2")
    assert [(state, reason) for _, state, reason in rows(STATES)[:2]] == [("active", None)] * 2
    etl("logins", "stop", "1")
    assert rows(STATES)[0] == (1, "suspended", "by hand")


@pytest.mark.parametrize("command", ["resume", "stop", "unlink --yes"])
def test_an_unknown_login_changes_nothing(etl: Command, five: Connection, rows: Rows, command: str) -> None:
    before = rows(STATES)
    result = etl("logins", *command.split(), "1", "3", "77", "99")
    assert result.returncode == 1
    assert result.stderr == "error: there is no login 77, 99; nothing was changed. See `sluice logins list`.\n"
    assert rows(STATES) == before
    assert "there is no login 77" in etl("logins", "show", "77").stderr
    assert "is not in the range 1 to" in " ".join(etl("logins", *command.split(), "0").stderr.split())


def test_unlinking_gives_several_logins_back_once_and_names_those_that_fail(
    etl: Command, bank: Endpoint, db: Connection, rows: Rows
) -> None:
    for number in (5, 6):
        etl("link", "--provider", "plaid", "--public-token", public_token(bank, number), "--user", str(number))
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token) "
        "values (1, 'plaid', 'locked', 'x'), (1, 'other', 'other', 'x')"
    )
    result = etl("logins", "unlink", "1", "2", "3", "4", "--yes", "--reason", "closed")
    assert result.returncode == 1
    assert result.stdout == "Login 1: unlinked.\nLogin 2: unlinked.\n"
    assert "Login 3: provider account 3: none of the SLUICE_KEYS decrypts its access token" in result.stderr
    assert "Login 4: its provider 'other' is not declared" in result.stderr
    assert [row[:2] for row in rows(STATES)] == [(1, "unlinked"), (2, "unlinked"), (3, "active"), (4, "active")]
    assert rows("select count(*) from core.provider_accounts where access_token is null") == [(2,)]
    again = etl("logins", "unlink", "1", "--yes", AIRFLOW_CONN_PLAID=json.dumps({"host": "http://127.0.0.1:1"}))
    assert (again.returncode, again.stdout) == (0, "Login 1: unlinked.\n")


def test_restoring_tells_the_state_of_each_login_and_why_others_stay(
    etl: Command, five: Connection, rows: Rows
) -> None:
    five.execute("update core.provider_accounts set replaced_by = 6 where state = 'unlinked'")
    result = etl("logins", "restore", "4", "5", "1")
    assert result.returncode == 1
    assert result.stdout == "Login 4: unlinked.\nLogin 5: active.\n"
    assert result.stderr == "Login 1: it is active, and was not replaced.\n"
    assert rows("select provider_account_id from core.provider_accounts where replaced_by is not null") == []


def test_confirming_needs_a_login_that_was_replaced(etl: Command, five: Connection, rows: Rows) -> None:
    five.execute(
        "insert into core.replaced_accounts "
        "(old_provider_account_id, old_account_id, new_provider_account_id, new_account_id, matched_by, was_closed) "
        "values (5, 'a', 1, 'b', 'mask', false)"
    )
    result = etl("logins", "confirm", "5", "1")
    assert result.returncode == 1
    assert result.stdout == "Login 5: confirmed; the next run ends what the later login lacks.\n"
    assert result.stderr == "Login 1: it is active, and was not replaced.\n"
    assert rows("select confirmed_at is not null from core.replaced_accounts") == [(True,)]


def test_resuming_a_replaced_login_names_the_command_that_restores_it(etl: Command, five: Connection) -> None:
    assert etl("logins", "resume", "4", "5").stderr == (
        "Login 4: it is unlinked, and only `sluice link` makes it active again.\n"
        "Login 5: it is replaced, and only `sluice logins restore LOGIN`, or `sluice link`, makes it active again.\n"
    )


def test_unlinking_asks_first(etl: Command, five: Connection, rows: Rows) -> None:
    result = etl("logins", "unlink", "1")
    assert result.returncode == 1
    assert "Unlink 1 logins for good?" in result.stderr
    assert rows(STATES)[0][1] == "active"


def test_status_shows_logins_by_state_and_reason_and_what_waits(etl: Command, quarantined: Connection) -> None:
    document = json.loads(etl("status", "--json").stdout)
    assert document["provider_accounts"] == {
        "active": 1,
        "quarantined": 1,
        "needs_login": 1,
        "suspended": 1,
        "unlinked": 1,
        "replaced": 1,
    }
    assert {"state": "needs_login", "reason": "ITEM_LOGIN_REQUIRED", "logins": 1} in document["logins"]
    (transactions,) = [each for each in document["entities"] if each["entity"] == "transactions"]
    waiting = ("rejects", "field_warnings", "quarantined_logins", "pending_reconciliations")
    assert [transactions[name] for name in waiting] == [1, 7, 1, 1]
    output = etl("status").stdout
    assert "1 needs_login (1 ITEM_LOGIN_REQUIRED)" in output
    assert "to approve" in output


def test_logins_of_a_file_are_linked_and_one_of_another_user_does_not_stop_the_others(
    etl: Command, bank: Endpoint, rows: Rows, tmp_path: Path
) -> None:
    file = tmp_path / "logins.csv"
    file.write_text("user,access_token,item_id\nann,t1,i1\nbob,t2,i1\ncid,t3,i3\n", encoding="utf-8")
    result = etl("link", "--provider", "plaid", "--file", str(file))
    assert (result.returncode, result.stdout) == (1, "provider account 1\nprovider account 3\n")
    assert "1 of 3 logins were not linked:\nuser bob: plaid: item i1 is enrolled for another user" in result.stderr
    assert rows("select item_id, state from core.provider_accounts order by 1") == [("i1", "active"), ("i3", "active")]
    unknown = etl("link", "--provider", "other", "--access-token", "t", "--user", "ann")
    assert (unknown.returncode, "'other' is no provider; name one of" in unknown.stderr) == (2, True)
