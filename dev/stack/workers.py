"""The workers of a local stack: those of the image, named after the stack."""

from collections.abc import Sequence

from deploy import workers
from etl.declare.queue import Queue, WorkerGroup


def program(group: WorkerGroup) -> str:
    """Return the name of the program that runs a group's workers."""
    return f"worker-{group.name.replace('_', '-')}"


def worker_name(group: WorkerGroup, *, tag: str) -> str:
    """Return the part of a worker's name before `@`; `tag` keeps the workers of two stacks apart on one broker."""
    return f"{group.name}-{tag}"


def arguments(group: WorkerGroup, queues: Sequence[Queue], *, tag: str) -> tuple[str, ...]:
    """Return the arguments of `airflow` that run a group's workers.

    Parameters
    ----------
    group
        Whose workers.
    queues
        Every declared queue.
    tag
        Of the home.
    """
    name = worker_name(group, tag=tag)
    # Airflow would serve logs on every interface of the machine; the stack has a server of its own.
    return (*workers.arguments(group, queues, name=name), "--skip-serve-logs")
