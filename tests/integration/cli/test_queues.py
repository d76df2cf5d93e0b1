"""`sluice queues`: as declared, and in a real broker."""

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
    documents = json.loads(etl("queues", "--json").stdout)
    assert [queue["name"] for queue in documents] == ["urgent_notifications", "emails", "etl", "maintenance"]
    assert documents[2]["pools"] == {"etl": 3, "etl_backfill": 1}
    assert documents[0]["workers"] == {"high_priority": 2, "low_priority": 8}
    assert [queue["time_to_live_seconds"] for queue in documents] == [900, None, None, None]
    output = etl("queues", COLUMNS="200").stdout
    assert all(queue.summary[:20] in output for queue in QUEUES)


def test_json_of_a_command_is_requested_after_the_command(etl: Command) -> None:
    refused = etl("queues", "--json", "inspect", COLUMNS="200")
    assert refused.returncode == 2
    assert "write --json after the command: queues inspect --json" in refused.stderr


def test_waiting_messages_are_shown_without_their_token(queues: Command, sent: None) -> None:
    result = queues("inspect", "--limit", "2")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    index = lines.index("etl: 3 messages wait")
    assert lines[index + 1 : index + 3] == [f"  etl_accounts load[{number}], try 1, run r" for number in (0, 1)]
    assert "emails: 0 messages wait" in lines
    assert TOKEN not in result.stdout


def test_waiting_messages_are_json_for_programs(queues: Command, sent: None, url: str) -> None:
    with Connection(url) as connection:
        connection.SimpleQueue("emails").put("of another program")
        result = queues("inspect", "--limit", "1", "--json")
        connection.default_channel.queue_purge("emails")
    documents = {document["name"]: document for document in json.loads(result.stdout)}
    task = {"dag_id": "etl_accounts", "run_id": "r", "task_id": "load", "map_index": 0, "try_number": 1}
    assert documents["etl"] == {"name": "etl", "messages": 3, "next": [task]}
    assert documents["emails"] == {"name": "emails", "messages": 1, "next": [None]}
    assert documents.keys() == {queue.name for queue in QUEUES}
    assert TOKEN not in result.stdout


def test_a_purge_deletes_the_messages_of_one_queue(queues: Command, sent: None) -> None:
    assert queues("purge", "emails", "--yes").stdout == "emails: 0 messages deleted\n"
    assert queues("purge", "etl", "--yes").stdout == "etl: 3 messages deleted\n"
    assert "etl: 0 messages wait" in queues("inspect").stdout
    assert queues("purge", "no_such_queue", "--yes").returncode == 2


def test_no_message_is_deleted_without_confirmation(queues: Command, sent: None) -> None:
    assert queues("purge", "etl").returncode == 1
    assert "etl: 3 messages wait" in queues("inspect").stdout


def test_an_unreachable_broker_is_reported_in_one_sentence(etl: Command) -> None:
    result = etl("queues", "inspect", AIRFLOW__CELERY__BROKER_URL="redis://:secret@127.0.0.1:1/0")
    assert result.returncode == 1
    assert result.stderr.startswith("error: the broker does not answer")
    assert "secret" not in result.stderr
