from pathlib import Path

import pytest

from dev.servers.errors import AddressInvalid, WarehouseBelongsElsewhere
from dev.stack import shell_environment
from dev.stack.chosen_servers import (
    EMBEDDED_VARIABLE,
    METADATA_VARIABLE,
    ChosenServers,
    choose_catalog,
    choose_servers,
)
from dev.stack.home import Home
from etl import catalog_folder
from etl.errors import DeclarationError
from tests.unit.stack.samples import PORTS, SECRETS, make_plan

EXTERNAL = "postgresql://me:p%40ss@db.example:6543/bank?sslmode=require"


def choose(**caller: str) -> ChosenServers:
    return choose_servers(caller, secrets=SECRETS, ports=PORTS)


def test_servers_are_embedded_unless_named() -> None:
    servers = choose()
    assert servers.warehouse_is_embedded
    assert servers.broker_is_embedded
    assert (
        servers.warehouse.to_string()
        == "postgresql://sluice:postgres_password%20of%20the%20test@127.0.0.1:20001/sluice"
    )
    assert servers.metadata.database == "airflow"
    assert servers.broker.to_string() == "redis://:valkey_password%20of%20the%20test@127.0.0.1:20002/0"


def test_airflows_database_is_on_the_server_of_a_named_warehouse() -> None:
    servers = choose(WAREHOUSE_URL=EXTERNAL)
    assert not servers.warehouse_is_embedded
    assert servers.warehouse.to_string() == EXTERNAL
    assert servers.metadata.to_string() == EXTERNAL.replace("/bank?", "/bank_airflow?")
    assert servers.broker_is_embedded


def test_airflows_database_can_be_named_too() -> None:
    servers = choose(WAREHOUSE_URL=EXTERNAL, **{METADATA_VARIABLE: "postgresql+psycopg2://a:b@meta/airflow"})
    assert servers.metadata.to_string() == "postgresql://a:b@meta:5432/airflow"
    assert servers.has_named_metadata


def test_airflows_database_is_embedded_unless_a_warehouse_is_named() -> None:
    servers = choose(**{METADATA_VARIABLE: "postgresql://a:b@meta/airflow"})
    assert servers.metadata.address == "127.0.0.1:20001"
    assert not servers.has_named_metadata


def test_url_with_the_password_of_this_home_is_the_embedded_server_on_any_port() -> None:
    before = choose()
    moved = choose_servers(
        {"WAREHOUSE_URL": before.warehouse.to_string(), "BROKER_URL": before.broker.to_string()},
        secrets=SECRETS,
        ports={**PORTS, "postgres": 20_101, "valkey": 20_102},
    )
    assert moved.embedded == {"127.0.0.1:20101", "127.0.0.1:20102"}


def test_embedded_server_of_another_home_is_ignored() -> None:
    other = "postgresql://sluice:theirs@127.0.0.1:29000/sluice"
    assert choose(WAREHOUSE_URL=other, **{EMBEDDED_VARIABLE: "127.0.0.1:29000 127.0.0.1:29001"}).warehouse_is_embedded
    assert not choose(WAREHOUSE_URL=other).warehouse_is_embedded


def test_broker_url_without_a_database_selects_the_first() -> None:
    assert choose(BROKER_URL="redis://cache").broker.to_string() == "redis://cache:6379/0"


@pytest.mark.parametrize("text", ["mysql://u:secret@h/d", "postgresql:///d", "postgresql://u:secret@h:port/d", "h"])
def test_invalid_url_is_reported_by_its_variable_without_its_value(text: str) -> None:
    with pytest.raises(AddressInvalid, match="WAREHOUSE_URL cannot be read") as caught:
        choose(WAREHOUSE_URL=text)
    assert "secret" not in str(caught.value)


def last_start(folder: Path, **caller: str) -> dict[str, str]:
    """Return what the env file of a start with these variables holds."""
    plan = make_plan(folder, **caller)
    file = folder / "env"
    file.write_text(plan.files[Home(folder).env_file])
    return shell_environment.read_env_file(file)


def choose_again(last: dict[str, str], **caller: str) -> ChosenServers:
    return choose_servers(caller, secrets=SECRETS, ports=PORTS, last_start=last)


def test_a_home_remembers_its_servers(tmp_path: Path) -> None:
    metadata = "postgresql://a:b@meta:5432/airflow"
    broker = "rediss://:p%2Fw@cache.example:6380/3"
    last = last_start(tmp_path, WAREHOUSE_URL=EXTERNAL, BROKER_URL=broker, **{METADATA_VARIABLE: metadata})
    again = choose_again(last)
    assert (again.warehouse.to_string(), again.broker.to_string()) == (EXTERNAL, broker)
    assert (again.metadata.to_string(), again.has_named_metadata) == (metadata, True)
    assert again.remembered == {"WAREHOUSE_URL", "BROKER_URL"}
    assert again.embedded == frozenset()


def test_a_home_remembers_its_catalogue_until_the_caller_names_another_or_none(tmp_path: Path) -> None:
    last = last_start(tmp_path, SLUICE_CATALOG="/srv/our own")
    assert choose_catalog({}, last_start=last) == "/srv/our own"
    assert choose_catalog({"SLUICE_CATALOG": "/srv/other"}, last_start=last) == "/srv/other"
    assert choose_catalog({"SLUICE_CATALOG": ""}, last_start=last) == ""


def test_a_home_remembers_connections_until_the_caller_defines_others_or_none(tmp_path: Path) -> None:
    own = {"AIRFLOW_CONN_PLAID": '{"host": "https://production.plaid.com"}', "AIRFLOW_CONN_MYBANK": '{"host": "a"}'}
    last = last_start(tmp_path, **own)
    assert inherited_connections({}, last=last) == own
    assert inherited_connections({"AIRFLOW_CONN_MYBANK": '{"host": "b"}'}, last=last)["AIRFLOW_CONN_MYBANK"] == (
        '{"host": "b"}'
    )
    assert inherited_connections(dict.fromkeys(own, ""), last=last) == {}


def test_a_connection_to_a_sandbox_bank_is_that_of_the_start_whichever_env_file_was_read(tmp_path: Path) -> None:
    last = last_start(tmp_path)
    moved = {name: value.replace(f":{PORTS['bank']}", ":29003") for name, value in last.items()}
    assert inherited_connections(moved, last=last) == {}
    own = {"AIRFLOW_CONN_PLAID": '{"host": "https://production.plaid.com"}'}
    assert inherited_connections(moved, last=last_start(tmp_path, **own)) == own
    assert inherited_connections({**moved, **own}, last=last) == own


def inherited_connections(caller: dict[str, str], *, last: dict[str, str]) -> dict[str, str]:
    """Return the connections of providers that a start takes from its caller and from the last start."""
    settings = shell_environment.inherited_settings(caller, last_start=last)
    names = (*shell_environment.PROVIDER_CONNECTIONS, "AIRFLOW_CONN_MYBANK")
    return {name: settings[name] for name in names if name in settings}


def test_the_process_that_starts_a_stack_uses_the_catalogue_of_its_home_or_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "ours"
    last_start(tmp_path, SLUICE_CATALOG=str(own))
    monkeypatch.setenv("SLUICE_CATALOG", "")
    monkeypatch.delenv("SLUICE_CATALOG")
    with pytest.raises(DeclarationError, match=f"SLUICE_CATALOG: {own} does not exist"):
        shell_environment.use_catalog(Home(tmp_path))
    (own / "entities").mkdir(parents=True)
    shell_environment.use_catalog(Home(tmp_path))
    assert catalog_folder.find().folder == own


def test_a_home_remembers_that_its_servers_are_embedded(tmp_path: Path) -> None:
    again = choose_again(last_start(tmp_path))
    assert (again.embedded, again.remembered) == (choose().embedded, frozenset())


def test_the_default_database_of_airflow_is_created_at_each_start(tmp_path: Path) -> None:
    again = choose_again(last_start(tmp_path, WAREHOUSE_URL=EXTERNAL))
    assert again.metadata.database == "bank_airflow"
    assert not again.has_named_metadata


def test_a_home_takes_a_new_password_of_its_warehouse(tmp_path: Path) -> None:
    again = choose_again(last_start(tmp_path, WAREHOUSE_URL=EXTERNAL), WAREHOUSE_URL=EXTERNAL.replace("p%40ss", "new"))
    assert again.warehouse.password == "new"
    assert again.remembered == frozenset()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (EXTERNAL, EXTERNAL.replace("db.example", "other.example")),
        (EXTERNAL, EXTERNAL.replace("/bank?", "/books?")),
        (None, EXTERNAL),
    ],
)
def test_a_home_never_moves_to_another_warehouse(tmp_path: Path, first: str | None, second: str) -> None:
    last = last_start(tmp_path, **({"WAREHOUSE_URL": first} if first else {}))
    with pytest.raises(WarehouseBelongsElsewhere, match="Unset WAREHOUSE_URL to continue with the former") as caught:
        choose_again(last, WAREHOUSE_URL=second)
    assert "p@ss" not in str(caught.value)


def test_a_home_may_move_to_another_broker(tmp_path: Path) -> None:
    last = last_start(tmp_path, BROKER_URL="redis://cache/0")
    assert choose_again(last, BROKER_URL="redis://other/0").broker.host == "other"
