from datetime import UTC, datetime, timedelta
from typing import Any

from etl.alerts import blockers
from etl.alerts.blockers import OpenTask, PoolUsage
from tests.unit.alerts.samples import minutes

NOW = datetime(2026, 11, 24, 2, tzinfo=UTC)
POOLS = {"etl": PoolUsage("etl", slots=2, occupied_slots=2)}
CHUNKS = {ordinal: f"accounts {1 + 50 * ordinal}–{50 + 50 * ordinal}" for ordinal in range(5)}


def task(state: str, *, since: timedelta | None = timedelta(), **changes: Any) -> OpenTask:
    fields: dict[str, Any] = {
        "task_id": "chunk.download",
        "map_index": 2,
        "attempt": 1,
        "max_attempts": 4,
        "pool": "etl",
        "queue": "etl",
    }
    return OpenTask(state=state, state_since=None if since is None else NOW - since, **(fields | changes))


def lines(*tasks: OpenTask) -> tuple[str, ...]:
    return blockers.describe_tasks(tasks, POOLS, CHUNKS, as_of=NOW)


def test_running_task_line_names_chunk_duration_and_attempt() -> None:
    assert lines(task("running", since=minutes(41), attempt=2)) == (
        "download, chunk 3 of 5 (accounts 101–150), running for 41 min, attempt 2 of 4",
    )


def test_tasks_waiting_for_one_pool_share_a_line_with_slots_and_longest_wait() -> None:
    waiting = [task("scheduled", since=minutes(wait), map_index=wait, task_id="chunk.transform") for wait in (3, 12, 1)]
    assert lines(*waiting) == (
        "transform: 3 chunks waiting for a slot of pool etl (2 of 2 in use), the longest for 12 min",
    )


def test_each_waiting_state_names_what_it_waits_for() -> None:
    assert lines(task("queued", since=minutes(2), map_index=-1)) == (
        "download, waiting 2 min for a worker of queue etl",
    )
    assert lines(task("up_for_retry", since=minutes(2), map_index=-1)) == (
        "download, waiting 2 min for a retry, after attempt 1 of 4",
    )


def test_longest_running_tasks_come_first_within_five_lines() -> None:
    many = [task("running", since=minutes(index), map_index=index) for index in range(40)]
    described = lines(*many, task("scheduled"), task("queued"))
    assert len(described) == 5
    assert described[0].endswith("running for 39 min")
    assert "37 more tasks running" in described


def test_failed_task_is_no_blocker() -> None:
    assert lines(task("failed")) == ()
