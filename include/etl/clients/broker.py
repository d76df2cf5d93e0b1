"""Access to the broker's queues for operators: count, show and purge the tasks that wait.

Messages are Celery's; their bodies hold Airflow's workloads, whose tokens are never shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.exceptions import ChannelError, OperationalError

from etl.errors import TransientError


class BrokerUnreachable(TransientError):
    """The broker does not respond."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the broker does not answer: {reason}; check that it runs, and that AIRFLOW__CELERY__BROKER_URL is right."
        )


@dataclass(frozen=True)
class QueuedTask:
    """A task that waits in a queue.

    Parameters
    ----------
    dag_id, run_id, task_id
        Identify the task; empty for a message that is not Airflow's.
    map_index
        Index of a mapped task; -1 if it is not mapped.
    try_number
        Number of the try, from 1.
    """

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0


class Broker:
    """A connection to the broker."""

    def __init__(self, connection: Connection) -> None:
        self._channel = connection.default_channel

    def count_messages(self, queue: str) -> int:
        """Return how many messages of a queue no worker has received yet; 0 if the queue does not exist."""
        try:
            return int(Queue(queue, channel=self._channel).queue_declare(passive=True).message_count)
        except ChannelError:
            return 0

    def peek(self, queue: str, *, limit: int) -> list[QueuedTask]:
        """Return the next messages without consuming them; none if the broker is not Redis: others cannot show them."""
        client = getattr(self._channel, "client", None)
        if client is None or not hasattr(client, "lrange"):
            return []
        return [_parse_message(body) for body in reversed(client.lrange(queue, -limit, -1))]

    def purge(self, queue: str) -> int:
        """Delete all messages of a queue that no worker has received yet, and return their number."""
        return int(Queue(queue, channel=self._channel).purge() or 0) if self.count_messages(queue) else 0


@contextmanager
def connect(url: str) -> Iterator[Broker]:
    """Connect to the broker.

    Raises
    ------
    BrokerUnreachable
        If it does not respond.
    """
    try:
        with Connection(url, connect_timeout=10) as connection:
            connection.ensure_connection(max_retries=1, timeout=10)
            yield Broker(connection)
    except OperationalError as error:
        raise BrokerUnreachable(type(error.__cause__ or error).__name__) from None


def _parse_message(body: bytes) -> QueuedTask:
    try:
        (workload,), _, _ = json.loads(base64.b64decode(json.loads(body)["body"]))
        task: dict[str, Any] = json.loads(workload)["ti"]
        return QueuedTask(
            str(task["dag_id"]),
            str(task["run_id"]),
            str(task["task_id"]),
            int(task.get("map_index", -1)),
            int(task["try_number"]),
        )
    except (ValueError, KeyError, TypeError):
        return QueuedTask()
