"""Starts Airflow on servers that answer, and waits until all of it is of use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from dev.stack import health, preparation, watch, workers
from dev.stack.plan import Plan
from dev.stack.programs import TASK_LOGS, Stage
from dev.stack.supervisor import Supervisor
from etl.catalog.queues import QUEUES, WORKER_GROUPS

_WITHIN = timedelta(minutes=4)
_EVER = datetime.min.replace(tzinfo=UTC)


def start(plan: Plan, supervisor: Supervisor, *, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Prepare the databases, start Airflow's programs, and wait until they are healthy.

    Parameters
    ----------
    plan
        What to start; its servers answer.
    supervisor
        Starts the programs.
    environment
        Of the commands that prepare the databases.
    say
        Is told how it goes on.

    Raises
    ------
    StepFailed
        If a migration fails.
    ProgramDied
        If a program ends.
    NotReady
        If a program does not answer in time.
    """
    say("Preparing the databases.")
    metadata = plan.servers.metadata.text()
    preparation.prepare_metadata(metadata, QUEUES, environment=environment)
    preparation.prepare_warehouse(plan.home, environment=environment)
    names = [program.name for program in plan.programs if program.stage is Stage.AIRFLOW]
    say(f"Starting Airflow {preparation.airflow_version()}: {', '.join(names)}.")
    started_at = datetime.now(UTC)
    for name in names:
        if name != TASK_LOGS:
            supervisor.start(name)
    watch.until(
        lambda: missing(plan, since=started_at),
        programs=names,
        supervisor=supervisor,
        home=plan.home,
        within=_WITHIN,
    )
    # Nobody reads logs before, and every start costs seconds of two busy processors.
    supervisor.start(TASK_LOGS)
    say(f"Airflow on http://127.0.0.1:{plan.ports['ui']}: user admin, password in {plan.home.passwords}.")


def missing(plan: Plan, *, since: datetime = _EVER) -> list[str]:
    """Return the programs of Airflow that are not healthy; heartbeats before an instant do not count."""
    if absent := health.components_missing(plan.ports["ui"], since=since):
        return absent
    tag = plan.home.tag
    names = {workers.worker_name(group, tag=tag): workers.program(group) for group in WORKER_GROUPS}
    return [names[name] for name in health.workers_missing(plan.servers.broker.text(), list(names), tag=tag)]
