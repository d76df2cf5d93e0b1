"""The workers of a group: their command line and their memory, derived from the declared queues."""

from collections.abc import Sequence

from etl.declare.queue import Queue, WorkerGroup, queues_served

_WORKER_MIB = 400
"""MiB of a worker without tasks: its parent process, and the server of its logs."""
_PROCESS_MIB = 200
"""MiB of a process of the pool and of the task that it runs, before the task asks for more."""


def arguments(group: WorkerGroup, queues: Sequence[Queue], *, name: str) -> tuple[str, ...]:
    """Return the arguments of `airflow` that run a group's workers.

    Parameters
    ----------
    group
        Whose workers.
    queues
        Every declared queue.
    name
        What stands before `@` in the names of these workers; the host's name follows.
    """
    served = ",".join(queue.name for queue in queues_served(group, tuple(queues)))
    return (
        "celery",
        "worker",
        *("--queues", served),
        *("--concurrency", str(group.processes)),
        *("--celery-hostname", f"{name}@%h"),
        # Workers that start together need not wait to hear of one another.
        "--without-mingle",
        "--without-gossip",
    )


def memory_mib(group: WorkerGroup, queues: Sequence[Queue]) -> int:
    """Return the MiB that one worker of a group needs if every process runs the greediest task that it can meet.

    Parameters
    ----------
    group
        Whose worker.
    queues
        Every declared queue.
    """
    caps = [
        queue.memory for queue in queues_served(group, tuple(queues)) for pool in queue.pools for _ in range(pool.slots)
    ]
    greediest = sorted(caps, reverse=True)[: group.processes]
    return _WORKER_MIB + _PROCESS_MIB * group.processes + sum(greediest)
