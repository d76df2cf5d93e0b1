"""Describes what a run waits for, in a few lines."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from etl.alerts.formatting import format_duration, pluralize

_MAX_LINES = 5
_RUNNING_STATES = ("running", "restarting")
_STATE_RANKS = {"running": 0, "restarting": 0, "queued": 1, "up_for_retry": 2, "up_for_reschedule": 2, "deferred": 3}
_LAST_RANK = 4
_MAX_INSTANT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class OpenTask:
    """A task that is running, waiting or failed.

    Parameters
    ----------
    task_id
        With its group, such as `chunk.download`.
    map_index
        Index of the mapped task; -1 if it is not mapped.
    state
        Airflow's name of its state.
    attempt, max_attempts
        The latest attempt, 1-based, and how many it may have.
    pool, queue
        Airflow pool and Celery queue of the task.
    state_since
        When it entered its state; None if unknown.
    """

    task_id: str
    map_index: int
    state: str
    attempt: int
    max_attempts: int
    pool: str
    queue: str
    state_since: datetime | None

    @property
    def name(self) -> str:
        """Its id without its group."""
        return self.task_id.rpartition(".")[2]


@dataclass(frozen=True)
class PoolUsage:
    """Slots of an Airflow pool.

    Parameters
    ----------
    name
        Name of the pool.
    slots, occupied_slots
        All slots, and those in use.
    """

    name: str
    slots: int
    occupied_slots: int


def describe_tasks(
    tasks: Collection[OpenTask], pools: Mapping[str, PoolUsage], chunks: Mapping[int, str], *, as_of: datetime
) -> tuple[str, ...]:
    """Return what a run waits for, in at most five lines: running tasks first, then groups of waiting tasks.

    Parameters
    ----------
    tasks
        Its open tasks.
    pools
        Name → pool, for the pools of these tasks.
    chunks
        Ordinal → label of the chunk, such as `accounts 101–150`.
    as_of
        Now.
    """
    running = [_describe_running(task, chunks, as_of) for task in _oldest_first(tasks) if task.state in _RUNNING_STATES]
    waiting_tasks = sorted(
        (task for task in tasks if task.state not in (*_RUNNING_STATES, "failed")),
        key=lambda task: (_STATE_RANKS.get(task.state, _LAST_RANK), task.name, task.pool, task.queue),
    )
    groups = groupby(waiting_tasks, key=lambda task: (task.name, task.state, task.pool, task.queue))
    waiting = [_describe_waiting(_oldest_first(group), pools, chunks, as_of) for _, group in groups]
    listed = running[: max(_MAX_LINES - len(waiting), _MAX_LINES - 2)]
    if len(listed) < len(running):
        waiting.insert(0, f"{pluralize(len(running) - len(listed), 'more task')} running")
    return tuple([*listed, *waiting][:_MAX_LINES])


def describe_queued_run(queued_at: datetime | None, *, as_of: datetime) -> str:
    """Return the line about a run that has not started."""
    since = f" for {format_duration(as_of - queued_at)}" if queued_at else ""
    return f"the run itself has been queued{since}, behind other runs of its Dag"


def _oldest_first(tasks: Iterable[OpenTask]) -> list[OpenTask]:
    return sorted(tasks, key=lambda task: (task.state_since or _MAX_INSTANT, task.map_index))


def _describe_running(task: OpenTask, chunks: Mapping[int, str], as_of: datetime) -> str:
    parts = [_task_label(task, chunks), f"running{_for_duration(task, as_of)}"]
    if task.attempt > 1:
        parts.append(f"attempt {task.attempt} of {task.max_attempts}")
    return ", ".join(parts)


def _describe_waiting(
    tasks: list[OpenTask], pools: Mapping[str, PoolUsage], chunks: Mapping[int, str], as_of: datetime
) -> str:
    first = tasks[0]
    if len(tasks) == 1:
        return f"{_task_label(first, chunks)}, waiting{_duration(first, as_of)} {_waiting_reason(first, pools)}"
    longest = f", the longest{_for_duration(first, as_of)}" if first.state_since else ""
    return f"{first.name}: {pluralize(len(tasks), 'chunk')} waiting {_waiting_reason(first, pools)}{longest}"


def _waiting_reason(task: OpenTask, pools: Mapping[str, PoolUsage]) -> str:
    match task.state:
        case "queued":
            return f"for a worker of queue {task.queue}"
        case "scheduled":
            pool = pools.get(task.pool)
            return f"for a slot of pool {task.pool}" + (
                f" ({pool.occupied_slots} of {pool.slots} in use)" if pool else ""
            )
        case "up_for_retry":
            return f"for a retry, after attempt {task.attempt} of {task.max_attempts}"
        case "up_for_reschedule":
            return "to be rescheduled"
    return f"({task.state})"


def _task_label(task: OpenTask, chunks: Mapping[int, str]) -> str:
    if task.map_index < 0:
        return task.name
    label = chunks.get(task.map_index)
    total = f" of {len(chunks)} ({label})" if label else ""
    return f"{task.name}, chunk {task.map_index + 1}{total}"


def _for_duration(task: OpenTask, as_of: datetime) -> str:
    return f" for {format_duration(as_of - task.state_since)}" if task.state_since else ""


def _duration(task: OpenTask, as_of: datetime) -> str:
    return f" {format_duration(as_of - task.state_since)}" if task.state_since else ""
