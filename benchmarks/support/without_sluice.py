"""How fast the same mails go through plain Celery: a task for each user, and a chain of chunks."""

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
    """How fast some users were told.

    Parameters
    ----------
    name
        What did it.
    users
        How many there were.
    publish_seconds, send_seconds
        Seconds that it took to put the tasks in, before a worker ran, and from the first claim to the last mail.
    broker_growth
        Bytes by which the broker's memory grew meanwhile.
    """

    name: str
    users: int
    publish_seconds: float
    send_seconds: float
    broker_growth: int

    @property
    def pace(self) -> float:
        """Users a second of sending."""
        return self.users / self.send_seconds

    def __str__(self) -> str:
        """Return it as a line."""
        return (
            f"{self.name}: {self.users:,} users, put in within {self.publish_seconds:.1f} s, told within "
            f"{self.send_seconds:.1f} s ({self.pace:,.0f}/s); the broker grew by {self.broker_growth / 2**20:.1f} MiB"
        )


def measure(
    db: Connection, environment: Mapping[str, str], sink: MailSink, folder: Path, *, users: int, processes: int
) -> list[Pattern]:
    """Tell users by a task for each, and as many others by chunks of ids.

    Parameters
    ----------
    environment
        Of the workers.
    folder
        For their logs.
    users
        For each pattern; a multiple of a thousand, and there are twice as many.
    processes
        Of the worker.
    """
    plain_celery.app.conf.broker_url = environment[plain_celery.BROKER_VARIABLE]

    def each(after: int, last: int) -> None:
        for user_id in range(after + 1, last + 1):
            plain_celery.send_to_user.delay(user_id)

    def chunks(after: int, last: int) -> None:
        plain_celery.send_chunk.delay(list(range(after + 1, after + plain_celery.CHUNK_SIZE + 1)), last)

    patterns: tuple[tuple[str, Callable[[int, int], None]], ...] = (
        ("one Celery task for each user", each),
        (f"a chain of Celery tasks of {plain_celery.CHUNK_SIZE:,} ids", chunks),
    )
    found = []
    for number, (name, publish) in enumerate(patterns):
        before = sink.count()
        span = {"notice": plain_celery.NOTICE_NAME, "after": number * users, "last": (number + 1) * users}
        broker = celery_workers.empty_broker(environment)
        idle = _used_memory(broker)
        began = time.monotonic()
        publish(number * users, (number + 1) * users)
        published = time.monotonic() - began
        grown = _used_memory(broker) - idle
        with celery_workers.running(environment, folder, processes=processes):
            sent, seconds = _wait_until_sent(db, span)
        if sink.count() - before != sent:
            sys.exit(f"error: {name}: {sink.count() - before:,} mails came, and {sent:,} were sent")
        found.append(Pattern(name, users, published, seconds, grown))
    return found


def _wait_until_sent(db: Connection, span: Mapping[str, object]) -> tuple[int, float]:
    """Wait until everybody who can be reached has a row that has ended; return mails and seconds."""
    deadline = time.monotonic() + _MAX_WAIT.total_seconds()
    ((reachable,),) = db.execute(_REACHABLE, span).fetchall()
    while True:
        ((rows, claimed, sent, seconds),) = db.execute(_LEDGER, span).fetchall()
        if rows == reachable and not claimed:
            return sent, seconds
        if time.monotonic() > deadline:
            sys.exit(f"error: plain Celery told {rows - claimed:,} of {reachable:,} users in {_MAX_WAIT}")
        time.sleep(_POLL.total_seconds())


def _used_memory(broker: redis.Redis) -> int:
    found = broker.info("memory")
    return int(found["used_memory"])
