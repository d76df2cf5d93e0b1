"""Starts the servers of a plan, and waits until they answer."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from dev.servers import bank, cluster_files, databases, http, valkey
from dev.servers.binaries import postgres_version
from dev.stack import watch
from dev.stack.plan import Plan
from dev.stack.programs import BANK, POSTGRES, VALKEY, Stage
from dev.stack.supervisor import Supervisor

_WITHIN = timedelta(seconds=60)
_MAINTENANCE_DATABASE = "postgres"


def check_and_make(plan: Plan, *, say: Callable[[str], None]) -> None:
    """Check the servers that the caller named, and make what the embedded ones need before they can start.

    Raises
    ------
    ServerUnreachable
        If a server that the caller named does not answer.
    InitFailed
        If the embedded Postgres cannot be made.
    """
    if plan.cluster is not None:
        password = plan.secrets.postgres_password
        cluster_files.make(plan.cluster, password=password, settings=plan.settings, say=say)
    else:
        databases.require(plan.servers.warehouse.text(), name="WAREHOUSE_URL")
    if not plan.servers.broker_is_embedded:
        broker = plan.servers.broker
        valkey.require(broker.text(), name="BROKER_URL", address=broker.address)


def start(plan: Plan, supervisor: Supervisor, *, say: Callable[[str], None]) -> None:
    """Start the servers, wait until they answer, and create the databases.

    Raises
    ------
    ProgramDied
        If one of them ends.
    NotReady
        If one of them does not answer in time.
    DatabaseRefused
        If a database is missing on a server that the caller named, and may not be created.
    """
    names = [program.name for program in plan.programs if program.stage is not Stage.AIRFLOW]
    for name in names:
        supervisor.start(name)
    watch.until(lambda: missing(plan), programs=names, supervisor=supervisor, home=plan.home, within=_WITHIN)
    _create_databases(plan)
    for sentence in _sentences(plan):
        say(sentence)


def missing(plan: Plan) -> list[str]:
    """Return the servers that do not answer yet, embedded or not."""
    maintenance = plan.servers.warehouse.text(database=_MAINTENANCE_DATABASE if plan.cluster else None)
    ready: Mapping[str, Callable[[], bool]] = {
        POSTGRES: lambda: databases.answers(maintenance),
        VALKEY: lambda: valkey.answers(plan.servers.broker.text()),
        BANK: lambda: http.answers(plan.ports["bank"], bank.HEALTH),
    }
    return [name for name, answers in ready.items() if not answers()]


def _create_databases(plan: Plan) -> None:
    warehouse, metadata = plan.servers.warehouse, plan.servers.metadata
    if plan.cluster is not None:
        maintenance = warehouse.text(database=_MAINTENANCE_DATABASE)
        databases.create_if_absent(maintenance, warehouse.database)
        databases.create_if_absent(maintenance, metadata.database)
    elif not plan.servers.metadata_named:
        databases.create_if_absent(warehouse.text(), metadata.database)


def _sentences(plan: Plan) -> list[str]:
    warehouse, broker, ports = plan.servers.warehouse, plan.servers.broker, plan.ports
    if plan.cluster is not None:
        postgres = f"Postgres {postgres_version(plan.cluster.installation)} on {warehouse.address}."
    else:
        postgres = f"Postgres of WAREHOUSE_URL on {warehouse.address}."
    own = plan.servers.broker_is_embedded
    real = plan.sandbox.purchases
    serving = f"; it serves the {real.items} items of {real.path}" if real else ""
    return [
        postgres,
        f"Valkey on {broker.address}." if own else f"Broker of BROKER_URL on {broker.address}.",
        f"Sandbox bank on http://127.0.0.1:{ports['bank']}, where it is {plan.sandbox.day}{serving}.",
    ]
