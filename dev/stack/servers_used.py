"""Which servers a stack uses: its own, or those that the caller's environment names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dev.servers.ports import LOOPBACK
from dev.servers.postgres import SUPERUSER
from dev.stack.secrets_file import Secrets
from dev.stack.urls import Kind, Url, parse

EMBEDDED = "SLUICE_EMBEDDED"
"""Variable of an env file: the addresses in it that are embedded servers, and so no wish of the caller's."""

METADATA = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"


@dataclass(frozen=True)
class ServersUsed:
    """The servers behind a stack.

    Parameters
    ----------
    warehouse
        Postgres database of the pipeline.
    metadata
        Postgres database of Airflow.
    broker
        Redis or Valkey database of the workers' queues.
    embedded
        Addresses, `host:port`, of those that the stack starts itself.
    metadata_named
        Whether the caller named the database of Airflow, which is then not created.
    """

    warehouse: Url
    metadata: Url
    broker: Url
    embedded: frozenset[str]
    metadata_named: bool = False

    @property
    def warehouse_is_embedded(self) -> bool:
        """Whether the stack starts Postgres."""
        return self.warehouse.address in self.embedded

    @property
    def broker_is_embedded(self) -> bool:
        """Whether the stack starts Valkey."""
        return self.broker.address in self.embedded


def decide(caller: Mapping[str, str], *, secrets: Secrets, ports: Mapping[str, int]) -> ServersUsed:
    """Return the servers to use.

    Parameters
    ----------
    caller
        The caller's environment. URLs of embedded servers in it, of this home or another, count as not set:
        they come from an env file that the shell has read.
    secrets
        Of this home.
    ports
        Of this home.

    Raises
    ------
    AddressInvalid
        If a variable cannot be read.
    """
    warehouse = _named(caller, "WAREHOUSE_URL", own=secrets.postgres_password, kind=Kind.POSTGRES)
    broker = _named(caller, "BROKER_URL", own=secrets.valkey_password, kind=Kind.REDIS)
    own_postgres = Url(
        "postgresql", LOOPBACK, ports["postgres"], SUPERUSER, secrets.postgres_password, database="sluice"
    )
    own_valkey = Url("redis", LOOPBACK, ports["valkey"], "", secrets.valkey_password, database="0")
    embedded = [own_postgres] * (warehouse is None) + [own_valkey] * (broker is None)
    metadata = _named(caller, METADATA, own=secrets.postgres_password, kind=Kind.POSTGRES) if warehouse else None
    return ServersUsed(
        warehouse=warehouse or own_postgres,
        metadata=metadata or _metadata(warehouse, own_postgres),
        broker=replace(broker, database=broker.database or "0") if broker else own_valkey,
        embedded=frozenset(url.address for url in embedded),
        metadata_named=metadata is not None,
    )


def _metadata(warehouse: Url | None, own: Url) -> Url:
    if warehouse is None:
        return replace(own, database="airflow")
    return replace(warehouse, database=f"{warehouse.database}_airflow")


def _named(caller: Mapping[str, str], name: str, *, own: str, kind: Kind) -> Url | None:
    """Return the server that the caller wants instead of an embedded one, None if it names none."""
    text = caller.get(name, "").strip()
    if not text:
        return None
    url = parse(name, text, kind)
    if url.password == own or url.address in caller.get(EMBEDDED, "").split():
        return None
    return url
