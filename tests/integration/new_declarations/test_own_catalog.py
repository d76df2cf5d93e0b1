"""The catalogue that `sluice init` writes, beside a shipped entity: tables, a provider, rows and messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.settings import Endpoint
from tests.api_server import ApiServer, Received, Reply
from tests.own_catalog import OwnCatalog

Rows = Callable[..., list[tuple[object, ...]]]
TODAY = datetime.now(UTC).date()
PAGES = 3


def respond(request: Received) -> Reply:
    """Return a page of transactions of an account, one each; that of page 2 is large, and that of page 3 came in."""
    if request.headers.get("authorization") != "Bearer secret":
        return Reply({"error": "unknown token"}, 401)
    assert request.path == "/v1/accounts/A1/transactions"
    page = int(request.query["page"])
    amount, direction = {1: ("12.30", "DBIT"), 2: ("1250.00", "DBIT"), 3: ("900.00", "CRDT")}[page]
    booked = (TODAY - timedelta(days=1)).strftime("%d.%m.%Y")
    record = {"ref": f"t-{page}", "booked": booked, "amount": amount, "direction": direction, "currency": "EUR"}
    return Reply({"data": [{**record, "text": f"Shop {page}"}], "page": page, "pages": PAGES})


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer(respond) as server:
        yield server


@pytest.fixture
def own(tmp_path: Path) -> OwnCatalog:
    return OwnCatalog.init(tmp_path / "ours")


@pytest.fixture
def environment(own: OwnCatalog, stack: Stack, database: Endpoint, api: ApiServer, tmp_path: Path) -> dict[str, str]:
    connection = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    return {
        **own.environment(stack.environment),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({**connection, "schema": database.schema}),
        "AIRFLOW_CONN_EXAMPLEBANK": json.dumps({"conn_type": "http", "host": f"{api.url}/v1"}),
        "SLUICE_RAW_ROOT": f"file://{tmp_path}/raw",
    }


def test_what_init_writes_is_synced_and_sent(
    own: OwnCatalog, environment: dict[str, str], db: Connection, rows: Rows
) -> None:
    # As in a new database: without the tables of the shipped catalogue.
    db.execute("drop schema core, etl, notify, sluice cascade")
    migrated = own.python("-m", "etl", "migrate", environment=environment)
    assert migrated.stderr == ""
    assert "core.examplebank_transactions: create it" in migrated.stdout
    login = ("--user", "4711", "--access-token", "secret", "--item-id", "A1")
    own.python("-m", "etl", "link", "--provider", "examplebank", *login, environment=environment)
    module = ("-m", "tests.integration.new_declarations.sync", "examplebank_transactions")
    assert json.loads(own.python(*module, environment=environment).stdout)["inserted"] == PAGES
    for command in ("logins show 1", "logins list", "status"):
        own.python("-m", "etl", *command.split(), environment=environment)
    restored = own.python("-m", "etl", "logins", "restore", "1", environment=environment, check=False)
    assert "core.accounts" not in restored.stderr
    assert rows("select transaction_id, amount::float from core.examplebank_transactions order by 1") == [
        ("t-1", 12.3),
        ("t-2", 1250.0),
        ("t-3", -900.0),
    ]
    db.execute(
        "insert into notify.contacts (user_id, channel, address) select user_id, 'email', 'a@b.c' from core.users"
    )
    notify = ("-m", "tests.integration.new_declarations.notify", "examplebank_payments", "2026-11-01T00:00:00Z")
    messages = json.loads(own.python(*notify, environment=environment).stdout)
    assert messages["a@b.c"]["subject"] == "1,250.00 EUR left your account"
    assert "1,250.00 EUR left your account: Shop 2.\n" in messages["a@b.c"]["text"]
    assert "linked an account at this bank" in messages["a@b.c"]["html"]


def test_a_shipped_entity_of_one_line_has_the_table_and_the_sql_of_the_shipped_catalogue(
    own: OwnCatalog, environment: dict[str, str], rows: Rows
) -> None:
    for name in ("accounts", "transactions"):
        own.reexport_entity(name)
    own.python("-m", "etl", "migrate", environment=environment)
    checked = own.python("-m", "etl", "migrate", "--check", environment=environment, check=False)
    assert (checked.returncode, checked.stdout) == (0, "The schema is up to date.\n")
    assert rows("select to_regclass('core.effective_transactions')::text") == [("core.effective_transactions",)]
    script = (
        "from etl.catalog.entities import ENTITIES\n"
        "from etl.db.tables.entity_statements import EntityStatements\n"
        "statements = EntityStatements(next(each for each in ENTITIES if each.name == 'transactions'))\n"
        "print(statements['close_pending'].as_string(None))"
    )
    shipped = EntityStatements(TRANSACTIONS)["close_pending"].as_string(None)
    assert own.python("-c", script).stdout.strip() == shipped.strip()
