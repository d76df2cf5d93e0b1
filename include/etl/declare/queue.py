"""Queues, the pools that keep their backlogs, and the worker groups that serve them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from etl.declare.validation import require_count, require_duration, require_identifier, require_type
from etl.errors import DeclarationError


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
        require_count(where, "processes", self.processes, minimum=1)


@dataclass(frozen=True)
class Pool:
    """An Airflow pool.

    Parameters
    ----------
    name
        Its name.
    slots
        Tasks that may run in it at the same time, over all workers.
    summary
        What runs there, for the people who look at the pool in the web UI.
    """

    name: str
    slots: int
    summary: str


@dataclass(frozen=True)
class Queue:
    """A Celery queue and the Airflow pools that keep its backlog out of the broker.

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
    memory
        MiB that one task may take on top of what its process holds when it starts.
    summary
        What runs here, for the people who look at the pool in the web UI.
    niceness
        How far its tasks stand back where processors are scarce: 0 (not at all) to 19.
    backfill_slots
        Tasks of backfills that may run at the same time, besides those of `slots`; they have a pool of their own.
    time_to_live
        How late after its run became due a task may start; one that would start later skips itself. None for ever.
    """

    name: str
    priority: int
    group: WorkerGroup
    slots: int
    memory: int
    summary: str
    niceness: int = 0
    backfill_slots: int = 0
    time_to_live: timedelta | None = None

    def __post_init__(self) -> None:
        where = f"queue {self.name}"
        require_identifier(where, "name", self.name)
        require_count(where, "priority", self.priority, minimum=1, maximum=9)
        require_type(where, "group", self.group, WorkerGroup)
        require_count(where, "slots", self.slots, minimum=1)
        require_count(where, "memory", self.memory, minimum=1)
        require_count(where, "niceness", self.niceness, minimum=0, maximum=19)
        require_count(where, "backfill_slots", self.backfill_slots, minimum=0)
        if self.time_to_live is not None:
            require_duration(where, "time_to_live", self.time_to_live)

    @property
    def pool(self) -> Pool:
        """Where its tasks wait."""
        return Pool(self.name, self.slots, self.summary)

    @property
    def backfill_pool(self) -> Pool | None:
        """Where its tasks wait in backfill runs; None if they have no slots of their own."""
        if not self.backfill_slots:
            return None
        return Pool(f"{self.name}_backfill", self.backfill_slots, f"Backfills: {self.summary}")

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All its pools."""
        return (self.pool,) if self.backfill_pool is None else (self.pool, self.backfill_pool)


def validate_queues(*queues: Queue) -> tuple[Queue, ...]:
    """Return the queues.

    Raises
    ------
    DeclarationError
        If two have one name, or those of one group may have more tasks than one of its workers has processes: the
        rest would age in the broker, unseen, instead of waiting for a slot.
    """
    names = [queue.name for queue in queues]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"queue {name} is declared twice; rename one")
    for group in {queue.group for queue in queues}:
        slots = sum(pool.slots for queue in queues if queue.group == group for pool in queue.pools)
        if slots > group.processes:
            raise DeclarationError(
                f"worker group {group.name}: its own queues have {slots} slots, and one of its workers runs "
                f"{group.processes} tasks; take slots away or add processes"
            )
    return queues


def queues_served(group: WorkerGroup, queues: Collection[Queue]) -> tuple[Queue, ...]:
    """Return the queues that a group's workers poll, most urgent first."""
    served = [queue for queue in queues if queue.group == group or queue.name in group.helps]
    return tuple(sorted(served, key=lambda queue: -queue.priority))
