"""`sluice queues`: the declared queues, the messages that wait in the broker, and how to delete them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import list_completions
from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.terminal import print_json, print_line
from etl.declare import fault
from etl.declare.queue import Queue, WorkerGroup, queues_served
from etl.errors import DeclarationError, SettingMissing

if TYPE_CHECKING:
    from etl.clients.broker import QueuedTask

_BROKER_VARIABLE = "AIRFLOW__CELERY__BROKER_URL"
_JSON = (
    "a list of `name`, `priority`, `pools` (slots by pool), `memory_mib`, `niceness`, `time_to_live_seconds` (null if "
    "messages never expire), `workers` (processes by worker group) and `summary`"
)
_INSPECT_JSON = (
    "a list of `name`, `messages` (how many wait) and `next`, a list of `dag_id`, `run_id`, `task_id`, `map_index` (-1 "
    "if not mapped) and `try_number`, or null for a message that is not an Airflow task"
)


def complete_queue() -> list[tuple[str, str]]:
    """Return the queues for the completion of a shell; none if they cannot be read."""
    with suppress(DeclarationError):
        return list_completions(_declared()[0])
    return []


def queues(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the declared queues, most urgent first, and the workers that serve them; or inspect and purge them."""
    if context.invoked_subcommand:
        if as_json:
            raise typer.BadParameter(f"write --json after the command: queues {context.invoked_subcommand} --json")
        return
    declared, groups = _declared()
    ordered = sorted(declared, key=lambda queue: -queue.priority)
    if as_json:
        print_json([_to_document(queue, _processes(queue, declared, groups)) for queue in ordered])
        return
    for queue in ordered:
        pools = ", ".join(f"{pool.slots} in pool {pool.name}" for pool in queue.pools)
        expires = "never expires" if queue.time_to_live is None else f"expires after {queue.time_to_live}"
        served = ", ".join(f"{name} ({processes})" for name, processes in _processes(queue, declared, groups).items())
        typer.echo(f"{queue.name}: {queue.summary}")
        typer.echo(f"    priority {queue.priority}; tasks at once: {pools}; served by {served}")
        typer.echo(f"    a task may take {queue.memory} MiB, has niceness {queue.niceness}, and {expires}")


@examples("sluice queues inspect", "sluice queues inspect --limit 50 --json", json=_INSPECT_JSON)
def inspect_queues(
    *,
    limit: Annotated[int, typer.Option(help="Maximum number of messages to show of each queue.", min=0)] = 5,
    as_json: AsJson = False,
) -> None:
    """Show how many messages wait in each queue of the broker, and which are delivered next."""
    from etl.clients import broker

    with broker.connect(_broker_url()) as connection:
        inspected = [
            (queue.name, connection.count_messages(queue.name), connection.peek(queue.name, limit=limit))
            for queue in _declared()[0]
        ]
    if as_json:
        print_json(
            [
                {"name": name, "messages": count, "next": [asdict(task) if task.dag_id else None for task in tasks]}
                for name, count, tasks in inspected
            ]
        )
        return
    for name, count, tasks in inspected:
        typer.echo(f"{name}: {count:,} messages wait")
        for task in tasks:
            print_line(f"  {_describe_task(task)}")


@examples("sluice queues purge emails", "sluice queues purge etl --yes")
def purge_queue(
    queue: Annotated[
        str,
        typer.Argument(metavar="QUEUE", help="Its name; see `sluice queues`.", autocompletion=complete_queue),
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete the messages of a queue that no worker has taken yet; Airflow sends their tasks again after a while."""
    from etl.clients import broker

    names = [declared.name for declared in _declared()[0]]
    if queue not in names:
        raise typer.BadParameter(f"{queue!r} is no queue; it is one of {', '.join(names)}")
    with broker.connect(_broker_url()) as connection:
        if not yes:
            typer.confirm(f"Delete {connection.count_messages(queue):,} messages of {queue}?", abort=True)
        typer.echo(f"{queue}: {connection.purge(queue):,} messages deleted")


def _describe_task(task: QueuedTask) -> str:
    if not task.dag_id:
        return "not an Airflow task"
    index = f"[{task.map_index}]" if task.map_index >= 0 else ""
    return f"{task.dag_id} {task.task_id}{index}, try {task.try_number}, run {task.run_id}"


def _to_document(queue: Queue, workers: dict[str, int]) -> dict[str, object]:
    return {
        "name": queue.name,
        "priority": queue.priority,
        "pools": {pool.name: pool.slots for pool in queue.pools},
        "memory_mib": queue.memory,
        "niceness": queue.niceness,
        "time_to_live_seconds": queue.time_to_live,
        "workers": workers,
        "summary": queue.summary,
    }


def _processes(queue: Queue, declared: Sequence[Queue], groups: Sequence[WorkerGroup]) -> dict[str, int]:
    """Return the processes that serve a queue, by worker group."""
    return {group.name: group.processes for group in groups if queue in queues_served(group, declared)}


def _declared() -> tuple[tuple[Queue, ...], tuple[WorkerGroup, ...]]:
    """Return the declared queues and worker groups.

    Raises
    ------
    DeclarationError
        If they cannot be read.
    """
    with fault.explained():
        from etl.catalog.queues import QUEUES, WORKER_GROUPS

    return QUEUES, WORKER_GROUPS


def _broker_url() -> str:
    url = os.environ.get(_BROKER_VARIABLE, "").strip()
    if not url:
        raise SettingMissing(_BROKER_VARIABLE, "the URL of the broker, such as redis://:password@host:6379/0")
    return url


app = typer.Typer(
    invoke_without_command=True,
    epilog=format_epilog("sluice queues", "sluice queues --json", json=_JSON),
)
app.callback()(queues)
add_command(app, inspect_queues, name="inspect", panel="Broker")
add_command(app, purge_queue, name="purge", panel="Broker")
