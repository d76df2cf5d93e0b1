"""What a run waits for, in a few lines."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from etl.alerts.formatting import counted, spoken

_MOST = 5
_RUNNING = ("running", "restarting")
_RANKS = {"running": 0, "restarting": 0, "queued": 1, "up_for_retry": 2, "up_for_reschedule": 2, "deferred": 3}
_LAST = 4
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class OpenTask:
    """A task that is under way, waits for something, or failed.

    Parameters
    ----------
    task_id
        With its group, such as `chunk.download`.
    map_index
        Its place in the map; -1 if it is not mapped.
    state
        Airflow's name for it.
    attempt, attempts
        The latest attempt, 1-based, and how many it may have.
    pool, queue
        Where it gets its slot and its worker.
    since
        When it came into its state; None if that is not known.
    """

    task_id: str
    map_index: int
    state: str
    attempt: int
    attempts: int
    pool: str
    queue: str
    since: datetime | None

    @property
    def name(self) -> str:
        """Its name, without its group."""
        return self.task_id.rpartition(".")[2]


@dataclass(frozen=True)
class Pool:
    """Slots that tasks share.

    Parameters
    ----------
    name
        Its name.
    slots, taken
        How many there are, and how many are in use.
    """

    name: str
    slots: int
    taken: int


def lines(
    tasks: Collection[OpenTask], pools: Mapping[str, Pool], chunks: Mapping[int, str], *, as_of: datetime
) -> tuple[str, ...]:
    """Return what a run waits for, the most telling first, in at most five lines.

    Parameters
    ----------
    tasks
        Its open tasks.
    pools
        The pools that they use.
    chunks
        What its chunks are about, by ordinal.
    as_of
        Now.
    """
    running = [_running(task, chunks, as_of) for task in _oldest_first(tasks) if task.state in _RUNNING]
    kinds = sorted(
        (task for task in tasks if task.state not in (*_RUNNING, "failed")),
        key=lambda task: (_RANKS.get(task.state, _LAST), task.name, task.pool, task.queue),
    )
    alike = groupby(kinds, key=lambda task: (task.name, task.state, task.pool, task.queue))
    waiting = [_waiting(_oldest_first(group), pools, chunks, as_of) for _, group in alike]
    shown = running[: max(_MOST - len(waiting), _MOST - 2)]
    if len(shown) < len(running):
        waiting.insert(0, f"{counted(len(running) - len(shown), 'more task')} running")
    return tuple([*shown, *waiting][:_MOST])


def _oldest_first(tasks: Iterable[OpenTask]) -> list[OpenTask]:
    return sorted(tasks, key=lambda task: (task.since or _NEVER, task.map_index))


def _running(task: OpenTask, chunks: Mapping[int, str], as_of: datetime) -> str:
    parts = [_named(task, chunks), f"running{_for(task, as_of)}"]
    if task.attempt > 1:
        parts.append(f"attempt {task.attempt} of {task.attempts}")
    return ", ".join(parts)


def _waiting(tasks: list[OpenTask], pools: Mapping[str, Pool], chunks: Mapping[int, str], as_of: datetime) -> str:
    first = tasks[0]
    if len(tasks) == 1:
        return f"{_named(first, chunks)}, waiting{_since(first, as_of)} {_for_what(first, pools)}"
    longest = f", the longest{_for(first, as_of)}" if first.since else ""
    return f"{first.name}: {counted(len(tasks), 'chunk')} waiting {_for_what(first, pools)}{longest}"


def _for_what(task: OpenTask, pools: Mapping[str, Pool]) -> str:
    match task.state:
        case "queued":
            return f"for a worker of queue {task.queue}"
        case "scheduled":
            pool = pools.get(task.pool)
            return f"for a slot of pool {task.pool}" + (f" ({pool.taken} of {pool.slots} in use)" if pool else "")
        case "up_for_retry":
            return f"to be tried again, after attempt {task.attempt} of {task.attempts}"
        case "up_for_reschedule":
            return "until it may go on"
    return f"({task.state})"


def _named(task: OpenTask, chunks: Mapping[int, str]) -> str:
    if task.map_index < 0:
        return task.name
    about = chunks.get(task.map_index)
    of = f" of {len(chunks)} ({about})" if about else ""
    return f"{task.name}, chunk {task.map_index + 1}{of}"


def _for(task: OpenTask, as_of: datetime) -> str:
    return f" for {spoken(as_of - task.since)}" if task.since else ""


def _since(task: OpenTask, as_of: datetime) -> str:
    return f" {spoken(as_of - task.since)}" if task.since else ""


def unstarted(queued_at: datetime | None, *, as_of: datetime) -> str:
    """Return what a run waits for that has not started."""
    since = f", for {spoken(as_of - queued_at)}" if queued_at else ""
    return f"the run itself waits to start, after others of its Dag{since}"
