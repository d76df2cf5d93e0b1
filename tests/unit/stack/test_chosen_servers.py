import pytest

from dev.servers.errors import AddressInvalid
from dev.stack.chosen_servers import EMBEDDED_VARIABLE, METADATA_VARIABLE, ChosenServers, choose_servers
from tests.unit.stack.samples import PORTS, SECRETS

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
