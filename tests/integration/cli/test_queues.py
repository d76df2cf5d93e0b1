"""Queues from the command line: as declared, and in a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from kombu.connection import Connection

from dev.stack.stack import Stack
from etl.catalog.queues import QUEUES
from tests.integration.cli.conftest import Command

TOKEN = "eyJ.secret"


@pytest.fixture
def url(stack: Stack) -> str:
    """Return the address of a broker that no worker of other tests listens to."""
    server, _, _ = stack.environment["AIRFLOW__CELERY__BROKER_URL"].rpartition("/")
    return f"{server}/7"


@pytest.fixture
def queues(etl: Command, url: str) -> Command:
    """Return a function that runs `etl queues` on that broker."""
    return lambda *arguments: etl("queues", *arguments, AIRFLOW__CELERY__BROKER_URL=url)


@pytest.fixture
def sent(url: str) -> Iterator[None]:
    """Put three tasks into the broker, as Airflow does."""
    from celery import Celery

    with Celery(broker=url, set_as_current=False) as app:
        for number in range(3):
            task = {"dag_id": "etl_accounts", "run_id": "r", "task_id": "load", "map_index": number, "try_number": 1}
            app.send_task("execute_workload", args=[json.dumps({"token": TOKEN, "ti": task})], queue="etl")
    yield
    with Connection(url) as connection:
        connection.default_channel.queue_purge("etl")


def test_the_declared_queues_are_shown_most_urgent_first(etl: Command) -> None:
    told = json.loads(etl("queues", "--json").stdout)
    assert [queue["name"] for queue in told] == ["urgent_notifications", "emails", "etl", "maintenance"]
    assert told[2]["pools"] == {"etl": 3, "etl_backfill": 1}
    assert told[0]["workers"] == {"high_priority": 2, "low_priority": 7}
    table = etl("queues", COLUMNS="200").stdout
    assert all(queue.summary[:20] in table for queue in QUEUES)


def test_what_waits_in_the_broker_is_shown_without_its_token(queues: Command, sent: None) -> None:
    shown = queues("inspect", "--limit", "2")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    at = lines.index("etl: 3 messages wait")
    assert lines[at + 1 : at + 3] == [f"  etl_accounts load[{number}], try 1, run r" for number in (0, 1)]
    assert "emails: 0 messages wait" in lines
    assert TOKEN not in shown.stdout


def test_a_queue_is_emptied_by_its_name_alone(queues: Command, sent: None) -> None:
    assert queues("purge", "emails", "--yes").stdout == "emails: 0 messages dropped\n"
    assert queues("purge", "etl", "--yes").stdout == "etl: 3 messages dropped\n"
    assert "etl: 0 messages wait" in queues("inspect").stdout
    assert queues("purge", "no_such_queue", "--yes").returncode == 2


def test_nothing_is_dropped_without_a_yes(queues: Command, sent: None) -> None:
    assert queues("purge", "etl").returncode == 1
    assert "etl: 3 messages wait" in queues("inspect").stdout


def test_a_broker_that_is_not_there_is_a_sentence(etl: Command) -> None:
    done = etl("queues", "inspect", AIRFLOW__CELERY__BROKER_URL="redis://:secret@127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the broker does not answer")
    assert "secret" not in done.stderr
