"""Queues, and the worker groups that serve them.

Pools, worker command lines, task weights, memory caps and the cluster policy are derived from this file; change them
here only.
"""

from datetime import timedelta

from etl.declare.queue import Queue, WorkerGroup, validate_queues

HIGH_PRIORITY = WorkerGroup("high_priority", processes=2)
LOW_PRIORITY = WorkerGroup("low_priority", processes=8, helps=("urgent_notifications",))

URGENT_NOTIFICATIONS = Queue(
    "urgent_notifications",
    priority=4,
    group=HIGH_PRIORITY,
    slots=2,
    memory=256,
    time_to_live=timedelta(minutes=15),
    summary="One person waits for it now: a login code, a fraud alert.",
)
EMAILS = Queue(
    "emails",
    priority=3,
    group=LOW_PRIORITY,
    slots=2,
    planning_slots=1,
    memory=256,
    niceness=10,
    summary="Batch notifications, sent chunk by chunk.",
)
ETL = Queue(
    "etl",
    priority=2,
    group=LOW_PRIORITY,
    slots=3,
    backfill_slots=1,
    memory=512,
    niceness=15,
    summary="Download, store, transform and load of every entity.",
)
MAINTENANCE = Queue(
    "maintenance",
    priority=1,
    group=LOW_PRIORITY,
    slots=1,
    memory=512,
    niceness=19,
    summary="Purges, statistics and partitions.",
)

WORKER_GROUPS = (HIGH_PRIORITY, LOW_PRIORITY)
QUEUES = validate_queues(URGENT_NOTIFICATIONS, EMAILS, ETL, MAINTENANCE)
