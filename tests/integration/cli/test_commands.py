"""The command line, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import httpx
import pytest

from etl.db.connection import Connection
from etl.settings import Endpoint
from tests.integration.cli.conftest import Command

Rows = Callable[..., list[tuple[object, ...]]]


def test_migrate_says_when_there_is_nothing_to_do(etl: Command) -> None:
    done = etl("migrate")
    assert (done.returncode, done.stdout) == (0, "The schema is up to date.\n")


def test_describe_prints_every_declaration_as_json(etl: Command) -> None:
    described = json.loads(etl("describe").stdout)
    assert [entity["name"] for entity in described["entities"]] == ["accounts", "transactions", "merchants"]
    assert [notice["channels"][0]["name"] for notice in described["notices"]] == ["push", "desktop", "email"]
    assert {queue["name"] for queue in described["queues"]} >= {"etl", "urgent_notifications"}


def test_link_enrols_a_login_and_shows_no_token(etl: Command, bank: Endpoint, rows: Rows) -> None:
    answer = httpx.post(
        f"{bank.host}/sandbox/public_token/create",
        json={"institution_id": "ins_109508", "initial_products": ["transactions"]},
        headers={"PLAID-CLIENT-ID": bank.login, "PLAID-SECRET": bank.password},
        trust_env=False,
    )
    done = etl("link", "--public-token", answer.json()["public_token"], "--user", "ann")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "provider account 1\n"
    ((reference, token),) = rows(
        "select u.reference, p.access_token from core.provider_accounts as p join core.users as u using (user_id)"
    )
    assert reference == "ann"
    assert isinstance(token, bytes)
    assert b"access" not in token


def test_a_token_that_the_provider_does_not_know_is_refused_in_a_sentence(etl: Command) -> None:
    done = etl("link", "--public-token", "public-sandbox-made-up", "--user", "ann")
    assert done.returncode == 1
    assert done.stderr.startswith("error: plaid /item/public_token/exchange answered INVALID_PUBLIC_TOKEN")
    assert "Traceback" not in done.stderr


def test_a_missing_setting_is_a_sentence(etl: Command) -> None:
    done = etl("migrate", AIRFLOW_CONN_WAREHOUSE="")
    assert done.returncode == 1
    assert done.stderr.startswith("error: AIRFLOW_CONN_WAREHOUSE is not set")


def test_status_tells_of_every_entity_and_of_the_accounts(etl: Command, db: Connection) -> None:
    db.execute("insert into core.users (reference) values ('ann')")
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token) values (1, 'plaid', 'i', '')"
    )
    told = json.loads(etl("status", "--json").stdout)
    assert told["provider_accounts"] == {"active": 1}
    assert told["entities"][0] == {"entity": "accounts", "rows": 0, "loaded_at": None, "lag": None, "rejects": 0}
    shown = etl("status").stdout
    assert "never loaded" in shown
    assert "1 active" in shown


def test_plan_tells_what_a_run_would_do_and_writes_nothing(etl: Command, db: Connection, rows: Rows) -> None:
    db.execute("insert into core.users (reference) values ('ann')")
    db.execute(
        "insert into core.provider_accounts (user_id, provider, item_id, access_token) "
        "select 1, 'plaid', n::text, '' from generate_series(1, 10500) as n"
    )
    done = etl("plan", "transactions")
    assert done.stdout.splitlines() == [
        "transactions: 10,500 provider accounts in 64 chunks",
        "10,500 requests; the provider's limits make them take at least 4.2 minutes",
    ]
    assert rows("select count(*) from etl.chunks") == [(0,)]
    assert "is no entity" in etl("plan", "nothing").stderr


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("plan", "merchants"), ("replay", "--since", "2026-01-01"), ("rejects", "list"), ("resync", "1")],
)
def test_a_warehouse_that_is_not_migrated_is_a_sentence(
    etl: Command, environment: Mapping[str, str], arguments: tuple[str, ...]
) -> None:
    held = json.loads(environment["AIRFLOW_CONN_WAREHOUSE"])
    done = etl(*arguments, AIRFLOW_CONN_WAREHOUSE=json.dumps({**held, "schema": "postgres"}))
    assert done.returncode == 1
    assert done.stderr.startswith("error: warehouse 'postgres' at ")
    assert done.stderr.endswith("does not exist; run `python -m etl migrate` first.\n")


def test_a_warehouse_is_encrypted_if_its_connection_says_so(etl: Command, environment: Mapping[str, str]) -> None:
    held = json.loads(environment["AIRFLOW_CONN_WAREHOUSE"])
    connection = json.dumps({**held, "extra": {"sslmode": "require", "cursor": "dictcursor"}})
    done = etl("status", AIRFLOW_CONN_WAREHOUSE=connection)
    assert done.returncode == 1
    assert "server does not support SSL, but SSL was required" in done.stderr
    assert "Traceback" not in done.stderr
