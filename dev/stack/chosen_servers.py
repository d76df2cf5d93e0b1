"""Which servers a stack uses: its own, or those that the caller's environment names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from dev.servers import bank, purchases
from dev.servers.bank import Sandbox
from dev.servers.errors import BankServesOthers, PurchasesLost, PurchasesRefused
from dev.servers.ports import LOOPBACK
from dev.servers.postgres import SUPERUSER
from dev.servers.purchases import Purchases
from dev.stack.home import UNWRITABLE, Home
from dev.stack.saved_state import Secrets
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


def choose_servers(caller: Mapping[str, str], *, secrets: Secrets, ports: Mapping[str, int]) -> ServersUsed:
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
    warehouse = _named_server(caller, "WAREHOUSE_URL", own=secrets.postgres_password, kind=Kind.POSTGRES)
    broker = _named_server(caller, "BROKER_URL", own=secrets.valkey_password, kind=Kind.REDIS)
    own_postgres = Url(
        "postgresql", LOOPBACK, ports["postgres"], SUPERUSER, secrets.postgres_password, database="sluice"
    )
    own_valkey = Url("redis", LOOPBACK, ports["valkey"], "", secrets.valkey_password, database="0")
    embedded = [own_postgres] * (warehouse is None) + [own_valkey] * (broker is None)
    metadata = _named_server(caller, METADATA, own=secrets.postgres_password, kind=Kind.POSTGRES) if warehouse else None
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


def _named_server(caller: Mapping[str, str], name: str, *, own: str, kind: Kind) -> Url | None:
    """Return the server that the caller wants instead of an embedded one, None if it names none."""
    text = caller.get(name, "").strip()
    if not text:
        return None
    url = parse(name, text, kind)
    if url.password == own or url.address in caller.get(EMBEDDED, "").split():
        return None
    return url


CSV = "SANDBOX_CSV"
"""Variable of the caller: the file of real purchases that a new bank serves in place of invented ones."""


def choose_bank(home: Home, *, caller: Mapping[str, str], today: date, advance: int) -> Sandbox:
    """Return the bank of a home; a home never changes from one bank's customers to another's.

    Parameters
    ----------
    home
        What it served before is remembered there.
    caller
        The caller's environment.
    today
        The day of a bank that is new.
    advance
        Days by which a bank that is not new is advanced.

    Raises
    ------
    PurchasesRefused
        If the file that the caller names cannot be served.
    BankServesOthers
        If the home's bank serves other customers than the caller asks for.
    PurchasesLost
        If it serves a file that is no longer what it was.
    """
    named = _named_file(caller)
    before = bank.remembered(home.bank)
    if before is None:
        return replace(bank.founded_on(today), purchases=purchases.examine(named) if named else None)
    return bank.advanced(replace(before, purchases=_still(home, before.purchases, named)), advance)


def _named_file(caller: Mapping[str, str]) -> Path | None:
    text = caller.get(CSV, "").strip()
    if not text:
        return None
    path = Path(text).expanduser().resolve()
    if any(part in str(path) for part in UNWRITABLE):
        raise PurchasesRefused(path, "its name holds a `%`, a line break, a tab, or a blank before `#` or `;`")
    return path


def _still(home: Home, before: Purchases | None, named: Path | None) -> Purchases | None:
    """Return the purchases that a bank served before, wherever the file is now."""
    digest = purchases.digest(named) if named else None
    if before is None:
        if named:
            raise BankServesOthers(home.folder, "invented customers", asked=named)
        return None
    if named and digest == before.digest:
        return replace(before, path=named)
    if named and named != before.path:
        raise BankServesOthers(home.folder, f"the purchases of {before.path}", asked=named)
    try:
        digest = purchases.digest(before.path)
    except PurchasesRefused as refused:
        raise PurchasesLost(home.folder, before.path, refused.found) from None
    if digest != before.digest:
        raise PurchasesLost(home.folder, before.path, "it holds others now")
    return before
