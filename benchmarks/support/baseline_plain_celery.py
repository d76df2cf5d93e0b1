"""The baseline of sending: the same mails through plain Celery, by one task per user and by a chain of chunks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis

from benchmarks.support import celery_workers, plain_celery
from benchmarks.support.mail_sink import MailSink
from etl.db.connection import Connection

_MAX_WAIT = timedelta(minutes=5)
_POLL = timedelta(milliseconds=200)
_LEDGER = """
select
    count(*),
    count(*) filter (where d.state = 'claimed'),
    count(*) filter (where d.state = 'sent'),
    coalesce(extract(epoch from max(d.ended_at) - min(d.claimed_at)), 0)::float
from notify.deliveries as d
inner join notify.notices as n using (notice_id)
where n.name = %(notice)s and d.user_id > %(after)s and d.user_id <= %(last)s
"""
_REACHABLE = """
select count(distinct c.user_id) from notify.contacts as c where c.user_id > %(after)s and c.user_id <= %(last)s
"""


@dataclass(frozen=True)
class Pattern:
    """A pattern of tasks, and its measurements.

    Parameters
    ----------
    name
        The pattern.
    users
        Number of users.
    publish_seconds, send_seconds
        Seconds to publish the tasks, before a worker ran, and from the first claim to the last mail.
    broker_growth
        Bytes by which publishing increased the broker's memory.
    """

    name: str
    users: int
    publish_seconds: float
    send_seconds: float
    broker_growth: int

    @property
    def pace(self) -> float:
        """Users per second of sending."""
        return self.users / self.send_seconds

    def __str__(self) -> str:
        """Return the measurements as a line of text."""
        return (
            f"{self.name}: {self.users:,} users, published in {self.publish_seconds:.1f} s, sent in "
            f"{self.send_seconds:.1f} s ({self.pace:,.0f}/s); the broker grew by {self.broker_growth / 2**20:.1f} MiB"
        )


def measure(
    db: Connection, environment: Mapping[str, str], sink: MailSink, folder: Path, *, users: int, processes: int
) -> list[Pattern]:
    """Measure one task per user, and then a chain of chunks for as many other users.

    Parameters
    ----------
    environment
        Environment of the workers.
    folder
        Folder for their logs.
    users
        Users per pattern, a multiple of a thousand; twice as many must exist.
    processes
        Processes of the worker.
    """
    plain_celery.app.conf.broker_url = environment[plain_celery.BROKER_VARIABLE]

    def publish_all(after: int, last: int) -> None:
        for user_id in range(after + 1, last + 1):
            plain_celery.send_to_user.delay(user_id)

    def publish_first_chunk(after: int, last: int) -> None:
        plain_celery.send_chunk.delay(list(range(after + 1, after + plain_celery.CHUNK_SIZE + 1)), last)

    patterns: tuple[tuple[str, Callable[[int, int], None]], ...] = (
        ("one Celery task for each user", publish_all),
        (f"a chain of Celery tasks of {plain_celery.CHUNK_SIZE:,} ids", publish_first_chunk),
    )
    measured: list[Pattern] = []
    for number, (name, publish) in enumerate(patterns):
        earlier_mails = sink.count()
        span = {"notice": plain_celery.NOTICE_NAME, "after": number * users, "last": (number + 1) * users}
        broker = celery_workers.empty_broker(environment)
        memory_before = _used_memory(broker)
        began = time.monotonic()
        publish(number * users, (number + 1) * users)
        publish_seconds = time.monotonic() - began
        broker_growth = _used_memory(broker) - memory_before
        with celery_workers.running(environment, folder, processes=processes):
            sent, send_seconds = _wait_until_sent(db, span)
        mails = sink.count() - earlier_mails
        if mails != sent:
            sys.exit(f"error: {name}: {mails:,} mails arrived, but {sent:,} were sent")
        measured.append(Pattern(name, users, publish_seconds, send_seconds, broker_growth))
    return measured


def _wait_until_sent(db: Connection, span: Mapping[str, object]) -> tuple[int, float]:
    """Wait until every reachable user's delivery has ended; return how many were sent, and the seconds that it took."""
    deadline = time.monotonic() + _MAX_WAIT.total_seconds()
    ((reachable,),) = db.execute(_REACHABLE, span).fetchall()
    while True:
        ((rows, claimed, sent, seconds),) = db.execute(_LEDGER, span).fetchall()
        if rows == reachable and not claimed:
            return sent, seconds
        if time.monotonic() > deadline:
            sys.exit(f"error: plain Celery finished {rows - claimed:,} of {reachable:,} users in {_MAX_WAIT}")
        time.sleep(_POLL.total_seconds())


def _used_memory(broker: redis.Redis) -> int:
    memory = broker.info("memory")
    return int(memory["used_memory"])
