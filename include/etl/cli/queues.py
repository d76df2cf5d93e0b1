"""`python -m etl queues`: what is declared, what waits in the broker, and how to empty it."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Annotated

import typer

from etl.catalog.queues import QUEUES, WORKER_GROUPS
from etl.declare.queue import Queue, queues_served
from etl.errors import SettingMissing

app = typer.Typer(help="The queues: as declared, in the broker, emptied.", invoke_without_command=True)

_BROKER_VARIABLE = "AIRFLOW__CELERY__BROKER_URL"
_QueueName = Annotated[str, typer.Argument(help=f"One of {', '.join(queue.name for queue in QUEUES)}.")]


@app.callback()
def queues(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the declared queues, most urgent first, and the workers that serve them."""
    if context.invoked_subcommand:
        return
    ordered = sorted(QUEUES, key=lambda queue: -queue.priority)
    if as_json:
        typer.echo(json.dumps([_to_json(queue) for queue in ordered]))
        return
    for queue in ordered:
        pools = ", ".join(f"{pool.slots} in pool {pool.name}" for pool in queue.pools)
        expires = "never expires" if queue.time_to_live is None else f"expires after {queue.time_to_live}"
        served = ", ".join(f"{name} ({processes})" for name, processes in _processes_by_group(queue).items())
        typer.echo(f"{queue.name}: {queue.summary}")
        typer.echo(f"    priority {queue.priority}; tasks at once: {pools}; served by {served}")
        typer.echo(f"    a task may take {queue.memory} MiB, has niceness {queue.niceness}, and {expires}")


@app.command("inspect")
def inspect_queues(
    limit: Annotated[int, typer.Option(help="Messages to show of each queue.", min=0)] = 5,
) -> None:
    """Show how many messages wait in each queue of the broker, and which are next."""
    from etl.clients import broker

    with broker.connect(_broker_url()) as connection:
        for queue in QUEUES:
            typer.echo(f"{queue.name}: {connection.count_messages(queue.name):,} messages wait")
            for message in connection.peek(queue.name, limit=limit):
                place = f"[{message.map_index}]" if message.map_index >= 0 else ""
                task = f"{message.dag_id} {message.task_id}{place}" if message.dag_id else "no task of Airflow's"
                typer.echo(f"  {task}, try {message.try_number}, run {message.run_id}")


@app.command("purge")
def purge_queue(
    queue: _QueueName,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Drop the messages of a queue that no worker has taken yet; Airflow sends their tasks again after a while."""
    from etl.clients import broker

    if queue not in {declared.name for declared in QUEUES}:
        raise typer.BadParameter(f"{queue!r} is no queue; it is one of {', '.join(each.name for each in QUEUES)}")
    with broker.connect(_broker_url()) as connection:
        if not yes:
            typer.confirm(f"Drop {connection.count_messages(queue):,} messages of {queue}?", abort=True)
        typer.echo(f"{queue}: {connection.purge(queue):,} messages dropped")


def _to_json(queue: Queue) -> dict[str, object]:
    ttl: timedelta | None = queue.time_to_live
    return {
        "name": queue.name,
        "priority": queue.priority,
        "pools": {pool.name: pool.slots for pool in queue.pools},
        "memory_mib": queue.memory,
        "niceness": queue.niceness,
        "time_to_live_seconds": None if ttl is None else ttl.total_seconds(),
        "workers": _processes_by_group(queue),
        "summary": queue.summary,
    }


def _processes_by_group(queue: Queue) -> dict[str, int]:
    return {group.name: group.processes for group in WORKER_GROUPS if queue in queues_served(group, QUEUES)}


def _broker_url() -> str:
    url = os.environ.get(_BROKER_VARIABLE, "").strip()
    if not url:
        raise SettingMissing(_BROKER_VARIABLE, "the URL of the broker, such as redis://:password@host:6379/0")
    return url
