"""Starting a stack, or the parts of it that do not run yet."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path

from dev.servers import bank, cluster_files, databases, http, valkey
from dev.servers.binaries import postgres_version
from dev.servers.ports import LOOPBACK, is_free
from dev.stack import down, prepare_databases, programs, shell_environment, stack, status, wait
from dev.stack import home as homes
from dev.stack.down import find_supervisor
from dev.stack.home import DEFAULT_HOME, Home
from dev.stack.lock import hold_lock
from dev.stack.plan import Plan, StackOptions, plan_running, plan_start
from dev.stack.programs import API_SERVER, BANK, MAIL, POSTGRES, TASK_LOGS, VALKEY, Stage
from dev.stack.stack import Stack
from dev.stack.supervisor import ALIVE_STATES, Supervisor, launch
from etl.declare import fault

_SERVERS_TIMEOUT = timedelta(seconds=60)
_MAINTENANCE_DATABASE = "postgres"
_AIRFLOW_TIMEOUT = timedelta(minutes=4)
_ANY_TIME = datetime.min.replace(tzinfo=UTC)


class StackScope(Enum):
    """The part of a stack to start."""

    SERVERS = "servers"
    """Postgres, Valkey and the sandbox bank."""

    ALL = "all"
    """The servers and Airflow."""


def up(
    folder: Path = DEFAULT_HOME,
    *,
    scope: StackScope = StackScope.ALL,
    caller_environment: Mapping[str, str] = os.environ,
    options: StackOptions | None = None,
    say: Callable[[str], None] = print,
) -> Stack:
    """Start the stack of a home; programs that run already keep running.

    Parameters
    ----------
    folder
        Home of the stack; created if it does not exist.
    scope
        Part to start.
    caller_environment
        Environment that the programs inherit; WAREHOUSE_URL and BROKER_URL in it name servers to use instead of
        embedded ones.
    options
        Options; None for the defaults.
    say
        Called with each message for the user.

    Raises
    ------
    StackError
        If something cannot be started; all that this call started is stopped again.
    """
    home = homes.find(folder)
    homes.create(home)
    with hold_lock(home, say=say):
        plan = _resume(home, caller_environment=caller_environment, options=options or StackOptions(), say=say)
        is_new = plan is None
        if plan is None:
            plan = _start_new(home, caller_environment=caller_environment, options=options or StackOptions(), say=say)
        if scope is StackScope.ALL:
            _ensure_airflow(
                plan,
                caller_environment=caller_environment,
                say=say,
                stop_on_failure=tuple(Stage) if is_new else (Stage.AIRFLOW,),
            )
        elif not is_new:
            say(f"The servers of {home.folder} are up already.")
        return stack.from_plan(plan, caller_environment=caller_environment)


def _resume(
    home: Home, *, caller_environment: Mapping[str, str], options: StackOptions, say: Callable[[str], None]
) -> Plan | None:
    """Return the plan of a running stack, after starting its missing servers; None if it does not run.

    A stack with other settings, or one of whose ports is taken, is stopped.
    """
    supervisor = find_supervisor(home)
    if supervisor is None or supervisor.states() is None:
        return None
    plan = plan_running(home, caller_environment=caller_environment, options=options, say=say)
    if not plan.is_written():
        say("The stack runs with other settings; restarting it.")
        down.stop_all(home, supervisor)
        return None
    if taken := _occupied_port(plan, supervisor):
        say(f"Port {taken} is taken by another program by now; restarting the stack on another port.")
        down.stop_all(home, supervisor)
        return None
    if _unready_servers(plan):
        _start_servers(plan, supervisor, say=say)
    return plan


def _occupied_port(plan: Plan, supervisor: Supervisor) -> int | None:
    """Return the port of a program that does not run, if another program listens on it."""
    states = supervisor.states() or {}
    for port, program in (("ui", API_SERVER), ("logs", TASK_LOGS), ("bank", BANK), ("mail", MAIL)):
        if states[program].state not in ALIVE_STATES and not is_free(plan.ports[port]):
            return plan.ports[port]
    return None


def _start_new(
    home: Home, *, caller_environment: Mapping[str, str], options: StackOptions, say: Callable[[str], None]
) -> Plan:
    """Start the supervisor and the servers."""
    down.end_orphans(home, say=say)
    plan = plan_start(home, caller_environment=caller_environment, options=options, say=say)
    _prepare_servers(plan, say=say)
    plan.write()
    environment = shell_environment.for_programs(
        plan.env_file_variables, caller_environment=caller_environment, home=home
    )
    launch(home.supervisor_configuration, environment=environment, output=home.log_file("supervisord-start"))
    supervisor = _supervisor_of(plan)
    with _stop_on_failure(home, supervisor, tuple(Stage), say=say):
        _start_servers(plan, supervisor, say=say)
    return plan


def _ensure_airflow(
    plan: Plan, *, caller_environment: Mapping[str, str], say: Callable[[str], None], stop_on_failure: Collection[Stage]
) -> None:
    """Start Airflow unless it runs and is healthy."""
    supervisor = _supervisor_of(plan)
    states = supervisor.states() or {}
    names = [program.name for program in plan.programs if program.stage is Stage.AIRFLOW]
    if all(states[name].state in ALIVE_STATES for name in names) and not _unhealthy_programs(plan):
        say(f"Everything is up already: Airflow on http://{LOOPBACK}:{plan.ports['ui']}.")
        return
    environment = shell_environment.for_programs(
        plan.env_file_variables, caller_environment=caller_environment, home=plan.home
    )
    with _stop_on_failure(plan.home, supervisor, stop_on_failure, say=say):
        _start_airflow(plan, supervisor, environment=environment, say=say)


@contextmanager
def _stop_on_failure(
    home: Home, supervisor: Supervisor, stages: Collection[Stage], *, say: Callable[[str], None]
) -> Iterator[None]:
    """Stop the programs of some stages if the block fails."""
    try:
        yield
    except BaseException:
        say("The start failed; stopping what was started.")
        if set(stages) == set(Stage):
            down.stop_all(home, supervisor)
        else:
            down.stop_programs(supervisor, stages=stages)
        raise


def _supervisor_of(plan: Plan) -> Supervisor:
    return Supervisor(plan.ports["supervisor"], plan.secrets.supervisor_password)


def _prepare_servers(plan: Plan, *, say: Callable[[str], None]) -> None:
    """Check the servers that the caller named, and create the data folder of the embedded Postgres.

    Raises
    ------
    ServerUnreachable
        If a server that the caller named does not respond.
    InitFailed
        If the data folder cannot be created.
    """
    if plan.cluster is not None:
        password = plan.secrets.postgres_password
        cluster_files.create_data_folder(plan.cluster, password=password, settings=plan.postgres_settings, say=say)
    else:
        databases.require_reachable(plan.servers.warehouse.to_string(), name="WAREHOUSE_URL")
    if not plan.servers.broker_is_embedded:
        broker = plan.servers.broker
        valkey.require_reachable(broker.to_string(), name="BROKER_URL", address=broker.address)


def _start_servers(plan: Plan, supervisor: Supervisor, *, say: Callable[[str], None]) -> None:
    """Start the servers, wait until they respond, and create the databases.

    Raises
    ------
    ProgramDied
        If a server ends.
    NotReady
        If a server does not respond in time.
    DatabaseRefused
        If a database is missing on a server that the caller named, and its user may not create it.
    """
    names = [program.name for program in plan.programs if program.stage is not Stage.AIRFLOW]
    for name in names:
        supervisor.start(name)
    wait.until_ready(
        lambda: _unready_servers(plan), programs=names, supervisor=supervisor, home=plan.home, timeout=_SERVERS_TIMEOUT
    )
    _create_databases(plan)
    for line in _summarize(plan):
        say(line)


def _unready_servers(plan: Plan) -> list[str]:
    """Return the servers, embedded or not, that do not respond yet."""
    maintenance = plan.servers.warehouse.to_string(database=_MAINTENANCE_DATABASE if plan.cluster else None)
    checks: Mapping[str, Callable[[], bool]] = {
        POSTGRES: lambda: databases.is_reachable(maintenance),
        VALKEY: lambda: valkey.is_reachable(plan.servers.broker.to_string()),
        MAIL: lambda: not is_free(plan.ports["mail"]),
        BANK: lambda: http.is_ok(plan.ports["bank"], bank.HEALTH_PATH),
    }
    return [name for name, is_ready in checks.items() if not is_ready()]


def _create_databases(plan: Plan) -> None:
    warehouse, metadata = plan.servers.warehouse, plan.servers.metadata
    if plan.cluster is not None:
        maintenance = warehouse.to_string(database=_MAINTENANCE_DATABASE)
        databases.create_if_absent(maintenance, warehouse.database)
        databases.create_if_absent(maintenance, metadata.database)
    elif not plan.servers.has_named_metadata:
        databases.create_if_absent(warehouse.to_string(), metadata.database)


def _summarize(plan: Plan) -> list[str]:
    warehouse, broker, ports = plan.servers.warehouse, plan.servers.broker, plan.ports
    if plan.cluster is not None:
        postgres = f"Postgres {postgres_version(plan.cluster.installation)} on {warehouse.address}."
    else:
        postgres = f"Postgres of WAREHOUSE_URL{_since(plan, 'WAREHOUSE_URL')} on {warehouse.address}."
    is_embedded = plan.servers.broker_is_embedded
    purchases = plan.sandbox.purchases
    serving = f"; it serves the {purchases.items} items of {purchases.path}" if purchases else ""
    return [
        postgres,
        f"Valkey on {broker.address}."
        if is_embedded
        else f"Broker of BROKER_URL{_since(plan, 'BROKER_URL')} on {broker.address}.",
        f"Sandbox bank on http://127.0.0.1:{ports['bank']}; its date is {plan.sandbox.day}{serving}.",
        f"Mails are stored in {plan.home.mails_folder}.",
    ]


def _since(plan: Plan, variable: str) -> str:
    return " at the last start" if variable in plan.servers.remembered else ""


def _start_airflow(
    plan: Plan, supervisor: Supervisor, *, environment: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Prepare the databases, start Airflow's programs, and wait until they are healthy.

    Parameters
    ----------
    plan
        Plan of the stack, whose servers respond.
    supervisor
        Supervisor of the programs.
    environment
        Environment of the commands that prepare the databases.
    say
        Called with each message for the user.

    Raises
    ------
    StepFailed
        If a migration fails.
    ProgramDied
        If a program ends.
    NotReady
        If a program is not healthy in time.
    """
    with fault.explained():
        from etl.catalog.queues import QUEUES

    say("Preparing the databases.")
    metadata = plan.servers.metadata.to_string()
    prepare_databases.prepare_metadata(metadata, QUEUES, environment=environment)
    for warning in prepare_databases.prepare_warehouse(plan.home, environment=environment):
        say(warning)
    names = [program.name for program in plan.programs if program.stage is Stage.AIRFLOW]
    say(f"Starting Airflow {prepare_databases.airflow_version()}: {', '.join(names)}.")
    started_at = datetime.now(UTC)
    for name in names:
        if name != TASK_LOGS:
            supervisor.start(name)
    wait.until_ready(
        lambda: _unhealthy_programs(plan, since=started_at),
        programs=names,
        supervisor=supervisor,
        home=plan.home,
        timeout=_AIRFLOW_TIMEOUT,
    )
    # Started last: nobody reads logs before, and its start would take seconds of CPU from the other programs.
    supervisor.start(TASK_LOGS)
    say(f"Airflow on http://127.0.0.1:{plan.ports['ui']}: user admin, password in {plan.home.passwords_file}.")


def _unhealthy_programs(plan: Plan, *, since: datetime = _ANY_TIME) -> list[str]:
    """Return the programs of Airflow that are not healthy; heartbeats before `since` do not count."""
    if unhealthy := status.fetch_unhealthy_components(plan.ports["ui"], since=since):
        return unhealthy
    from etl.catalog.queues import WORKER_GROUPS

    tag = plan.home.tag
    names = {programs.worker_name(group, tag=tag): programs.worker_program_name(group) for group in WORKER_GROUPS}
    return [names[name] for name in status.unresponsive_workers(plan.servers.broker.to_string(), list(names), tag=tag)]
