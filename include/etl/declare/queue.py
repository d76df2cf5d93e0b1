"""Queues and the worker groups that serve them."""

from dataclasses import dataclass

from etl.declare.values import require_count, require_identifier, require_kind


@dataclass(frozen=True)
class WorkerGroup:
    """Celery workers that serve the same queues.

    Parameters
    ----------
    name
        Name of the group; its workers' host names start with it.
    processes
        Tasks that one worker of the group runs at the same time.
    helps
        Names of other groups' queues that this group serves too.
    """

    name: str
    processes: int
    helps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"worker group {self.name}"
        require_identifier(where, "name", self.name)
        require_count(where, "processes", self.processes, least=1)


@dataclass(frozen=True)
class Queue:
    """A Celery queue and the Airflow pool that keeps its backlog out of the broker.

    Parameters
    ----------
    name
        Name of the queue and of its pool.
    priority
        1 (least urgent) to 9; a task's weight is 100 times this plus its step.
    group
        The workers that the queue belongs to.
    slots
        Tasks of this queue that may run at the same time, over all workers.
    summary
        What runs here, for the people who look at the pool in the web UI.
    """

    name: str
    priority: int
    group: WorkerGroup
    slots: int
    summary: str

    def __post_init__(self) -> None:
        where = f"queue {self.name}"
        require_identifier(where, "name", self.name)
        require_count(where, "priority", self.priority, least=1, most=9)
        require_kind(where, "group", self.group, WorkerGroup)
        require_count(where, "slots", self.slots, least=1)

    @property
    def pool(self) -> str:
        """Name of the Airflow pool."""
        return self.name


def queues_served(group: WorkerGroup, queues: tuple[Queue, ...]) -> tuple[Queue, ...]:
    """Return the queues that a group's workers poll, most urgent first."""
    served = [queue for queue in queues if queue.group == group or queue.name in group.helps]
    return tuple(sorted(served, key=lambda queue: -queue.priority))
