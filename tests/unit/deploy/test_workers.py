import pytest

from deploy import worker, workers
from etl.declare.queue import Queue, WorkerGroup

FAST = WorkerGroup("fast_lane", processes=2)
SLOW = WorkerGroup("slow_lane", processes=3, helps=("urgent",))
QUEUES = (
    Queue("bulk", priority=1, group=SLOW, slots=2, backfill_slots=1, memory=500, summary=""),
    Queue("urgent", priority=9, group=FAST, slots=2, memory=100, summary=""),
)


def test_memory_covers_the_largest_tasks_that_the_processes_can_run() -> None:
    assert workers.memory_mib(SLOW, QUEUES) - workers.memory_mib(WorkerGroup("idle", processes=3), QUEUES) == 3 * 500


def test_memory_counts_at_most_one_task_per_slot() -> None:
    assert workers.memory_mib(FAST, QUEUES) - workers.memory_mib(WorkerGroup("idle", processes=2), QUEUES) == 2 * 100


@pytest.mark.parametrize("names", [(), ("nobody",), ("high_priority", "low_priority")])
def test_undeclared_group_is_refused_and_the_declared_ones_are_named(names: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="high_priority, low_priority"):
        worker.command(names)
