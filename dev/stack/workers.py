"""The workers' command lines, derived from the declared queues and worker groups."""

from collections.abc import Sequence

from etl.declare.queue import Queue, WorkerGroup, queues_served


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
    served = ",".join(queue.name for queue in queues_served(group, tuple(queues)))
    return (
        "celery",
        "worker",
        *("--queues", served),
        *("--concurrency", str(group.processes)),
        *("--celery-hostname", f"{worker_name(group, tag=tag)}@%h"),
        # Airflow would serve logs on every interface of the machine; the stack has a server of its own.
        "--skip-serve-logs",
        # Workers that start together need not wait to hear of one another.
        "--without-mingle",
        "--without-gossip",
    )
