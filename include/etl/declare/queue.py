"""Queues, the Airflow pools that hold their backlogs, and the worker groups that serve them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from etl.declare.validation import (
    require_count,
    require_distinct,
    require_duration,
    require_identifier,
    require_tuple,
    require_type,
)
from etl.errors import DeclarationError

MAX_TASK_DURATION = timedelta(hours=12)
"""Longest execution timeout; a task that outlasts the broker's visibility timeout would be delivered a second time."""


@dataclass(frozen=True)
class WorkerGroup:
    """Celery workers that serve the same queues.

    Parameters
    ----------
    name
        Name of the group; its workers' host names start with it.
    processes
        Tasks that one worker of the group runs concurrently.
    helps
        Names of queues of other groups that this group serves too.
    """

    name: str
    processes: int
    helps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"worker group {self.name}"
        require_identifier(where, "name", self.name)
        require_count(where, "processes", self.processes, minimum=1)
        require_tuple(where, "helps", self.helps, str)


@dataclass(frozen=True)
class Pool:
    """An Airflow pool.

    Parameters
    ----------
    name
        Name of the pool.
    slots
        Maximum number of its tasks that run concurrently, over all workers.
    summary
        Description of what runs there, shown in Airflow's web UI.
    """

    name: str
    slots: int
    summary: str


TEST_POOL = Pool("dag_test", slots=0, summary="Tasks of `airflow dags test`, which the scheduler must not queue.")
"""Pool of the tasks that a developer runs by hand; without slots, so that a running scheduler leaves them alone."""


@dataclass(frozen=True)
class Queue:
    """A Celery queue and the Airflow pools that keep its backlog out of the broker.

    Parameters
    ----------
    name
        Name of the queue and of its pool.
    priority
        1 (least urgent) to 9; the priority weight of a task is 100 times this plus its step.
    group
        Worker group that the queue belongs to.
    slots
        Maximum number of its tasks that run concurrently, over all workers.
    memory
        MiB that one task may use in addition to what its process uses when it starts.
    summary
        Description of what runs here, shown in Airflow's web UI.
    niceness
        Unix niceness of its tasks' processes: 0 (highest CPU priority) to 19 (lowest).
    backfill_slots
        Maximum number of concurrent tasks of backfills, in addition to `slots`; they have their own pool.
    planning_slots
        Maximum number of concurrent tasks that plan notices, in addition to `slots`; they have their own pool, so that
        none waits until senders leave their slots.
    time_to_live
        Time after its run became due within which a task must start; one that starts later is skipped. None if tasks
        may start at any time.
    """

    name: str
    priority: int
    group: WorkerGroup
    slots: int
    memory: int
    summary: str
    niceness: int = 0
    backfill_slots: int = 0
    planning_slots: int = 0
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
        require_count(where, "planning_slots", self.planning_slots, minimum=0)
        if self.time_to_live is not None:
            require_duration(where, "time_to_live", self.time_to_live)

    @property
    def pool(self) -> Pool:
        """Pool of its tasks."""
        return Pool(self.name, self.slots, self.summary)

    @property
    def backfill_pool(self) -> Pool | None:
        """Pool of its tasks in backfill runs; None if these have no slots of their own."""
        if not self.backfill_slots:
            return None
        return Pool(f"{self.name}_backfill", self.backfill_slots, f"Backfills: {self.summary}")

    @property
    def planning_pool(self) -> Pool | None:
        """Pool of its tasks that plan notices; None if these have no slots of their own."""
        if not self.planning_slots:
            return None
        return Pool(f"{self.name}_planning", self.planning_slots, f"Planning: {self.summary}")

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All its pools."""
        return tuple(pool for pool in (self.pool, self.backfill_pool, self.planning_pool) if pool is not None)


def validate_queues(*queues: Queue) -> tuple[Queue, ...]:
    """Return the queues.

    Raises
    ------
    DeclarationError
        If two have the same name, or pools of the same name; if two groups have one name, or one helps with a queue
        that there is not; or if the queues of a group have more slots than one of its workers has processes: the excess
        tasks would wait in the broker, where nobody sees them, instead of in a pool.
    """
    names = [queue.name for queue in queues]
    for name in names:
        if names.count(name) > 1:
            raise DeclarationError(f"queue {name} is declared twice; rename one")
    require_distinct(
        "queues", "their pools", [TEST_POOL.name, *(pool.name for queue in queues for pool in queue.pools)]
    )
    groups = {queue.group for queue in queues}
    require_distinct("queues", "their worker groups", sorted(group.name for group in groups))
    for group in groups:
        for name in group.helps:
            if name not in names:
                raise DeclarationError(
                    f"worker group {group.name}: helps has {name!r}, which is no queue; name one of {', '.join(names)}"
                )
    for group in groups:
        slots = sum(pool.slots for queue in queues if queue.group == group for pool in queue.pools)
        if slots > group.processes:
            raise DeclarationError(
                f"worker group {group.name}: its own queues have {slots} slots, but one of its workers runs only "
                f"{group.processes} tasks; remove slots or add processes"
            )
    return queues


def require_timeout(where: str, timeout: object) -> None:
    """Raise DeclarationError unless a value is a duration that a task may take."""
    require_duration(where, "timeout", timeout)
    if isinstance(timeout, timedelta) and timeout > MAX_TASK_DURATION:
        raise DeclarationError(
            f"{where}: timeout is {timeout}, above {MAX_TASK_DURATION}; split its work into smaller chunks"
        )


def queues_served(group: WorkerGroup, queues: Collection[Queue]) -> tuple[Queue, ...]:
    """Return the queues that a group's workers poll, most urgent first."""
    served = [queue for queue in queues if queue.group == group or queue.name in group.helps]
    return tuple(sorted(served, key=lambda queue: -queue.priority))
