"""Command line and memory of the workers of a group, derived from the declared queues."""

from collections.abc import Sequence

from etl.declare.queue import Queue, WorkerGroup, queues_served

_WORKER_MIB = 400
"""MiB of an idle worker: its parent process and its log server."""
_PROCESS_MIB = 200
"""MiB of a pool process and of the task that it runs, before the task allocates memory of its own."""


def arguments(group: WorkerGroup, queues: Sequence[Queue], *, name: str) -> tuple[str, ...]:
    """Return the arguments of `airflow` that start a worker of a group.

    Parameters
    ----------
    group
        The worker's group.
    queues
        Every declared queue.
    name
        Part of the worker's Celery name before `@`; the host's name follows.
    """
    served = ",".join(queue.name for queue in queues_served(group, tuple(queues)))
    return (
        "celery",
        "worker",
        *("--queues", served),
        *("--concurrency", str(group.processes)),
        *("--celery-hostname", f"{name}@%h"),
        # Workers need not know each other, so those that start together need not wait for each other's replies.
        "--without-mingle",
        "--without-gossip",
    )


def memory_mib(group: WorkerGroup, queues: Sequence[Queue]) -> int:
    """Return the MiB that one worker of a group needs if its processes run the tasks with the highest memory caps.

    Parameters
    ----------
    group
        The worker's group.
    queues
        Every declared queue.
    """
    caps = [
        queue.memory for queue in queues_served(group, tuple(queues)) for pool in queue.pools for _ in range(pool.slots)
    ]
    highest = sorted(caps, reverse=True)[: group.processes]
    return _WORKER_MIB + _PROCESS_MIB * group.processes + sum(highest)
