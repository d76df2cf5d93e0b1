"""Choice of servers, connections, catalogue and sandbox bank of a stack, by the caller and the last start."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from dev.servers import bank, purchases
from dev.servers.bank import Sandbox
from dev.servers.errors import BankServesOthers, PurchasesLost, PurchasesRefused, WarehouseBelongsElsewhere
from dev.servers.ports import LOOPBACK
from dev.servers.postgres import SUPERUSER
from dev.servers.purchases import PurchaseSource
from dev.stack.home import FORBIDDEN_IN_PATHS, Home
from dev.stack.saved_state import Secrets
from dev.stack.urls import ServerKind, Url, parse
from etl.catalog_folder import VARIABLE

EMBEDDED_VARIABLE = "SLUICE_EMBEDDED"
"""Variable of an env file: addresses of the embedded servers in it, which the caller has therefore not chosen."""

METADATA_VARIABLE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

CSV_VARIABLE = "SANDBOX_CSV"
"""Variable of the caller: file of real purchases that a new bank serves instead of invented ones."""


BANK_VARIABLE = "BANK_URL"
"""Variable of an env file: address of the sandbox bank, to which connections in it may lead."""

CONNECTION_PREFIX = "AIRFLOW_CONN_"


@dataclass(frozen=True)
class ChosenServers:
    """The servers that a stack uses.

    Parameters
    ----------
    warehouse
        Postgres database of the pipeline.
    metadata
        Postgres database of Airflow.
    broker
        Redis or Valkey database of the workers' queues.
    embedded
        Addresses (`host:port`) of the servers that the stack starts itself.
    has_named_metadata
        Whether the caller named Airflow's database, which is then not created.
    remembered
        Variables that named servers at the last start, and which the caller does not set now.
    """

    warehouse: Url
    metadata: Url
    broker: Url
    embedded: frozenset[str]
    has_named_metadata: bool = False
    remembered: frozenset[str] = frozenset()

    @property
    def warehouse_is_embedded(self) -> bool:
        """Whether the stack starts Postgres."""
        return self.warehouse.address in self.embedded

    @property
    def broker_is_embedded(self) -> bool:
        """Whether the stack starts Valkey."""
        return self.broker.address in self.embedded


def choose_servers(
    caller_environment: Mapping[str, str],
    *,
    secrets: Secrets,
    ports: Mapping[str, int],
    last_start: Mapping[str, str] | None = None,
) -> ChosenServers:
    """Return the servers to use: those that the caller names, those of the last start, or embedded ones.

    A home never changes its warehouse: the logins, the raw store and the bank belong together.

    Parameters
    ----------
    caller_environment
        The caller's environment. URLs of embedded servers in it, of this home or another, are ignored, since they
        come from an env file that the shell has read.
    secrets
        Secrets of this home.
    ports
        Ports of this home.
    last_start
        Variables of the env file that the last start of this home wrote.

    Raises
    ------
    AddressInvalid
        If the value of a variable is not a URL of such a server.
    WarehouseBelongsElsewhere
        If the caller names another warehouse than that of the last start.
    """
    last_start = last_start or {}
    named, last = (
        _external_url(each, "WAREHOUSE_URL", own_password=secrets.postgres_password, kind=ServerKind.POSTGRES)
        for each in (caller_environment, last_start)
    )
    if named and "WAREHOUSE_URL" in last_start and _place(named) != _place(last):
        raise WarehouseBelongsElsewhere(_place(last), _place(named))
    warehouse = named or last
    named_broker, last_broker = (
        _external_url(each, "BROKER_URL", own_password=secrets.valkey_password, kind=ServerKind.REDIS)
        for each in (caller_environment, last_start)
    )
    broker = named_broker or last_broker
    own_postgres = Url(
        "postgresql", LOOPBACK, ports["postgres"], SUPERUSER, secrets.postgres_password, database="sluice"
    )
    own_valkey = Url("redis", LOOPBACK, ports["valkey"], "", secrets.valkey_password, database="0")
    embedded = [own_postgres] * (warehouse is None) + [own_valkey] * (broker is None)
    default_metadata = _default_metadata(warehouse, own_postgres)
    metadata = default_metadata
    for each in (last_start, caller_environment) if warehouse else ():
        metadata = (
            _external_url(each, METADATA_VARIABLE, own_password=secrets.postgres_password, kind=ServerKind.POSTGRES)
            or metadata
        )
    remembered = {
        "WAREHOUSE_URL": last if named is None else None,
        "BROKER_URL": last_broker if named_broker is None else None,
    }
    return ChosenServers(
        warehouse=warehouse or own_postgres,
        metadata=metadata,
        broker=replace(broker, database=broker.database or "0") if broker else own_valkey,
        embedded=frozenset(url.address for url in embedded),
        has_named_metadata=_place(metadata) != _place(default_metadata),
        remembered=frozenset(name for name, url in remembered.items() if url),
    )


def choose_catalog(caller_environment: Mapping[str, str], *, last_start: Mapping[str, str]) -> str:
    """Return the folder of the catalogue: that which the caller names, or that of the last start; empty if shipped.

    A caller who sets the variable to nothing chooses the shipped catalogue.
    """
    return caller_environment.get(VARIABLE, last_start.get(VARIABLE, "")).strip()


def choose_connections(caller_environment: Mapping[str, str], *, last_start: Mapping[str, str]) -> dict[str, str]:
    """Return the Airflow connections that the caller defines, and those of the last start, but those to a sandbox bank.

    A caller who sets a variable to nothing gives a connection up.
    """
    defined = _own_connections(last_start) | _own_connections(caller_environment)
    return {name: connection for name, connection in defined.items() if connection.strip()}


def choose_bank(home: Home, *, caller_environment: Mapping[str, str], today: date, advance_days: int) -> Sandbox:
    """Return the sandbox bank of a home; its customers never change.

    Parameters
    ----------
    home
        Home with the saved bank, if there is one.
    caller_environment
        The caller's environment.
    today
        Current day of a new bank.
    advance_days
        Days by which a saved bank is advanced.

    Raises
    ------
    PurchasesRefused
        If the bank cannot serve the file that the caller names.
    BankServesOthers
        If the saved bank serves other customers than the caller requests.
    PurchasesLost
        If the saved bank serves a file that is missing or has changed.
    """
    requested = _requested_file(caller_environment)
    saved = bank.load(home.bank_file)
    if saved is None:
        return replace(bank.new_sandbox(today), purchases=purchases.inspect_source(requested) if requested else None)
    return bank.advance(replace(saved, purchases=_current_purchases(home, saved.purchases, requested)), advance_days)


def _place(url: Url | None) -> str:
    """Return address and database for people."""
    return "an embedded Postgres" if url is None else f"the database {url.database} on {url.address}"


def _default_metadata(warehouse: Url | None, own: Url) -> Url:
    if warehouse is None:
        return replace(own, database="airflow")
    return replace(warehouse, database=f"{warehouse.database}_airflow")


def _external_url(
    caller_environment: Mapping[str, str], name: str, *, own_password: str, kind: ServerKind
) -> Url | None:
    """Return the server that the caller names instead of an embedded one; None if it names none."""
    text = caller_environment.get(name, "").strip()
    if not text:
        return None
    url = parse(name, text, kind)
    if url.password == own_password or url.address in caller_environment.get(EMBEDDED_VARIABLE, "").split():
        return None
    return url


def _own_connections(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the connections among variables that lead to no sandbox bank whose env file the shell has read."""
    bank = variables.get(BANK_VARIABLE)
    return {
        name: connection
        for name, connection in variables.items()
        if name.startswith(CONNECTION_PREFIX) and not (bank and bank in connection)
    }


def _requested_file(caller_environment: Mapping[str, str]) -> Path | None:
    text = caller_environment.get(CSV_VARIABLE, "").strip()
    if not text:
        return None
    path = Path(text).expanduser().resolve()
    if any(part in str(path) for part in FORBIDDEN_IN_PATHS):
        raise PurchasesRefused(path, "its name holds a `%`, a line break, a tab, or a blank before `#` or `;`")
    return path


def _current_purchases(home: Home, saved: PurchaseSource | None, requested: Path | None) -> PurchaseSource | None:
    """Return the purchases of a saved bank, at the current path of their file."""
    digest = purchases.file_digest(requested) if requested else None
    if saved is None:
        if requested:
            raise BankServesOthers(home.folder, "invented customers", requested=requested)
        return None
    if requested and digest == saved.digest:
        return replace(saved, path=requested)
    if requested and requested != saved.path:
        raise BankServesOthers(home.folder, f"the purchases of {saved.path}", requested=requested)
    try:
        digest = purchases.file_digest(saved.path)
    except PurchasesRefused as refused:
        raise PurchasesLost(home.folder, saved.path, refused.reason) from None
    if digest != saved.digest:
        raise PurchasesLost(home.folder, saved.path, "the file has changed")
    return saved
