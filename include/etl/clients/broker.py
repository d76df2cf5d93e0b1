"""The broker, as an operator looks at it: what waits in a queue, and how to empty it.

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
    """The broker does not answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the broker does not answer: {reason}; see that it runs, and what AIRFLOW__CELERY__BROKER_URL says."
        )


@dataclass(frozen=True)
class QueuedTask:
    """A task that waits in the broker.

    Parameters
    ----------
    dag_id, run_id, task_id
        Which task; empty for a message that is none of Airflow's.
    map_index
        Its place in the map; -1 if it is not mapped.
    try_number
        Which try this is.
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
        """Return how many messages wait in a queue that no worker has taken yet."""
        try:
            return int(Queue(queue, channel=self._channel).queue_declare(passive=True).message_count)
        except ChannelError:
            return 0

    def peek(self, queue: str, *, limit: int) -> list[QueuedTask]:
        """Return the messages that are delivered next, without taking them; only a Redis broker can show them."""
        client = getattr(self._channel, "client", None)
        if client is None or not hasattr(client, "lrange"):
            return []
        return [_parse_message(body) for body in reversed(client.lrange(queue, -limit, -1))]

    def purge(self, queue: str) -> int:
        """Drop all messages of a queue that no worker has taken yet, and return how many those were."""
        return int(Queue(queue, channel=self._channel).purge() or 0) if self.count_messages(queue) else 0


@contextmanager
def connect(url: str) -> Iterator[Broker]:
    """Open the broker.

    Raises
    ------
    BrokerUnreachable
        If it does not answer.
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
