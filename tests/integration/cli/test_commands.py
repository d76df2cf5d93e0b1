"""Commands of every kind, and how expected errors are reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import httpx
import pytest
from cryptography.fernet import Fernet

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.db.connection import Connection
from etl.settings import Endpoint
from etl.sync.logins import keys
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.cli.conftest import Command

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.mark.parametrize("runner", ["etl", "sluice"])
def test_migrate_reports_an_up_to_date_schema(request: pytest.FixtureRequest, runner: str) -> None:
    run: Command = request.getfixturevalue(runner)
    result = run("migrate")
    assert (result.returncode, result.stdout, result.stderr) == (0, "The schema is up to date.\n", "")
    assert run("migrate", "--json").stdout == '{"applied": [], "changes": [], "faults": []}\n'


def test_describe_prints_every_declaration_as_json(etl: Command) -> None:
    described = json.loads(etl("describe").stdout)
    assert [entity["name"] for entity in described["entities"]] == [entity.name for entity in ENTITIES]
    channels = {notice["name"]: [each["name"] for each in notice["channels"]] for notice in described["notices"]}
    assert channels == {notice.name: [each.name for each in notice.channels] for notice in NOTICES}
    assert {queue["name"] for queue in described["queues"]} >= {"etl", "urgent_notifications"}


def test_link_enrols_a_login_and_shows_no_token(etl: Command, bank: Endpoint, rows: Rows) -> None:
    response = httpx.post(
        f"{bank.host}/sandbox/public_token/create",
        json={"institution_id": "ins_109508", "initial_products": ["transactions"]},
        headers={"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password},
        trust_env=False,
    )
    result = etl("link", "--provider", "plaid", "--public-token", response.json()["public_token"], "--user", "ann")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "provider account 1\n"
    ((reference, token),) = rows(
        "select u.reference, p.access_token from core.provider_accounts as p join core.users as u using (user_id)"
    )
    assert reference == "ann"
    assert isinstance(token, bytes)
    assert b"access" not in token


def test_an_unknown_public_token_is_reported_in_one_sentence(etl: Command) -> None:
    result = etl("link", "--provider", "plaid", "--public-token", "public-sandbox-made-up", "--user", "ann")
    assert result.returncode == 1
    assert result.stderr.startswith("error: plaid /item/public_token/exchange answered INVALID_PUBLIC_TOKEN")
    assert "Traceback" not in result.stderr


def test_a_missing_setting_is_reported_in_one_sentence(etl: Command) -> None:
    result = etl("migrate", AIRFLOW_CONN_WAREHOUSE="")
    assert result.returncode == 1
    assert result.stderr.startswith("error: AIRFLOW_CONN_WAREHOUSE is not set")


def test_status_shows_every_entity_and_the_accounts_by_state(etl: Command, db: Connection) -> None:
    db.execute("insert into core.users (reference) values ('ann')")
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token) values (1, 'plaid', 'i', '')"
    )
    document = json.loads(etl("status", "--json").stdout)
    assert document["provider_accounts"] == {"active": 1}
    waiting = {"rejects": 0, "field_warnings": 0, "quarantined_logins": 0, "pending_reconciliations": 0}
    assert document["entities"] == [
        {"entity": entity.name, "rows": 0, "loaded_at": None, "lag": None, **waiting} for entity in ENTITIES
    ]
    output = etl("status").stdout
    assert "never loaded" in output
    assert "1 active" in output


def test_plan_estimates_a_run_and_writes_nothing(etl: Command, db: Connection, rows: Rows) -> None:
    db.execute("insert into core.users (reference) values ('ann')")
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token) "
        "select 1, 'plaid', n::text, '' from generate_series(1, 10500) as n"
    )
    result = etl("plan", "transactions")
    assert result.stdout.splitlines() == [
        "transactions: 10,500 provider accounts in 64 chunks",
        "10,500 requests; the provider's limits make them take at least 4.2 minutes",
    ]
    assert json.loads(etl("plan", "transactions", "--json").stdout) == {
        "entity": "transactions",
        "unit": "provider accounts",
        "unit_count": 10_500,
        "chunks": 64,
        "requests": 10_500,
        "min_duration_seconds": pytest.approx(252, abs=1),
        "late_logins": 0,
        "chunk_duration_seconds": pytest.approx(11.4, abs=1),
        "warnings": [],
    }
    assert rows("select count(*) from etl.chunks") == [(0,)]
    assert "is no entity" in etl("plan", "nothing").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("plan", "merchants"),
        ("replay", "--since", "2026-01-01"),
        ("rejects", "list"),
        ("resync", "1"),
        ("logins", "list"),
    ],
)
def test_a_warehouse_that_is_not_migrated_is_reported_in_one_sentence(
    etl: Command, environment: Mapping[str, str], arguments: tuple[str, ...]
) -> None:
    warehouse = json.loads(environment["AIRFLOW_CONN_WAREHOUSE"])
    result = etl(*arguments, AIRFLOW_CONN_WAREHOUSE=json.dumps({**warehouse, "schema": "postgres"}))
    assert result.returncode == 1
    assert result.stderr.startswith("error: warehouse 'postgres' at ")
    assert result.stderr.endswith("does not exist; run `sluice migrate` first.\n")


def test_a_warehouse_is_encrypted_if_its_connection_says_so(etl: Command, environment: Mapping[str, str]) -> None:
    warehouse = json.loads(environment["AIRFLOW_CONN_WAREHOUSE"])
    connection = json.dumps({**warehouse, "extra": {"sslmode": "require", "cursor": "dictcursor"}})
    result = etl("status", AIRFLOW_CONN_WAREHOUSE=connection)
    assert result.returncode == 1
    assert "server does not support SSL, but SSL was required" in result.stderr
    assert "Traceback" not in result.stderr


def test_keys_are_checked_and_rotated_and_a_missing_one_is_named(etl: Command, db: Connection) -> None:
    old, new, lost = (Fernet.generate_key().decode() for _ in range(3))
    for number, key in enumerate((old, old, lost)):
        cipher, item = TokenCipher([key]), f"i{number}"
        provider_accounts.enrol(db, cipher, provider="p", user="u", item_id=item, access_token="t")
    keys.require_keys(db, TokenCipher([lost]))
    wrong = etl("keys", "check", SLUICE_KEYS=new)
    assert (wrong.returncode, wrong.stderr.startswith("error: none of the SLUICE_KEYS opens")) == (1, True)
    listed = f"{new},{old},{lost}"
    assert etl("keys", "check", SLUICE_KEYS=listed).returncode == 0
    assert json.loads(etl("keys", "rotate", "--json", SLUICE_KEYS=listed).stdout) == {"replaced": 3, "unreadable": []}
    uses = json.loads(etl("keys", "check", "--json", SLUICE_KEYS=new).stdout)
    assert [(use["position"], use["tokens"]) for use in uses] == [(1, 3)]
    shown = etl("keys", "check", SLUICE_KEYS=f"{new},{old}")
    assert shown.returncode == 0
    ids = TokenCipher([new, old]).key_ids
    lines = [line.split() for line in shown.stdout.splitlines() if line.strip().startswith(ids)]
    assert lines == [[ids[0], "1", "3"], [ids[1], "2", "0"]]
    assert not any(secret in shown.stdout for secret in (old, new))
