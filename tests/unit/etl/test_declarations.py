from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.catalog.queues import ETL, HIGH_PRIORITY, LOW_PRIORITY, QUEUES, WORKER_GROUPS
from etl.declare.catalogue import catalogue
from etl.declare.check import NotEmpty
from etl.declare.entity import Column, Kind
from etl.declare.provider import Action, ErrorRule, Limit, Scope
from etl.declare.queue import queues_served
from etl.errors import DeclarationError


def test_the_slots_of_a_groups_own_queues_never_exceed_its_processes() -> None:
    for group in WORKER_GROUPS:
        assert sum(queue.slots for queue in QUEUES if queue.group == group) <= group.processes


def test_a_group_polls_the_most_urgent_of_its_queues_first() -> None:
    assert [queue.name for queue in queues_served(HIGH_PRIORITY, QUEUES)] == ["urgent_notifications"]
    assert [queue.name for queue in queues_served(LOW_PRIORITY, QUEUES)] == [
        "urgent_notifications",
        "emails",
        "etl",
        "maintenance",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": (*TRANSACTIONS.columns, Column("amount", Kind.MONEY))}, "column amount is declared twice"),
        ({"key": ("nowhere",)}, "key column nowhere is not among its columns"),
        ({"key": ("merchant_name",)}, "key column merchant_name must be required"),
        ({"checks": (NotEmpty("nowhere"),)}, "check not_empty names no column: nowhere"),
        ({"tolerated_rejects": 5}, "share between 0 and 1"),
        ({"deadline": timedelta()}, "deadline is 0:00:00; it must be above zero"),
    ],
)
def test_a_contradictory_entity_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=f"entity transactions: .*{message}"):
        replace(TRANSACTIONS, **change)


def test_a_feed_without_a_cursor_in_its_request_is_refused() -> None:
    with pytest.raises(DeclarationError, match="every page would be the first"):
        replace(TRANSACTIONS_SYNC, request={})


def test_a_feed_place_that_is_no_list_is_refused_with_the_spelling() -> None:
    with pytest.raises(DeclarationError, match=r"'added' names no list; write 'added\[\]'"):
        replace(TRANSACTIONS_SYNC, upserts=("added",))


def test_an_error_rule_that_matches_everything_is_refused() -> None:
    with pytest.raises(DeclarationError, match="it would match every error"):
        ErrorRule(Action.RETRY)


@pytest.mark.parametrize("burst", [0, 10, 11])
def test_a_burst_leaves_room_for_steady_calls(burst: int) -> None:
    with pytest.raises(DeclarationError, match="the burst at least 1 and below the calls"):
        Limit(Scope.CLIENT, calls=10, per=timedelta(minutes=1), burst=burst)


@pytest.mark.parametrize("priority", [0, 10])
def test_a_queue_priority_out_of_range_is_refused(priority: int) -> None:
    with pytest.raises(DeclarationError, match=f"queue etl: priority is {priority}"):
        replace(ETL, priority=priority)


def test_two_entities_may_not_read_one_feed_since_each_would_miss_what_the_other_read() -> None:
    with pytest.raises(DeclarationError, match="entity copies reads the feed transactions_sync, as transactions does"):
        catalogue(TRANSACTIONS, replace(TRANSACTIONS, name="copies"))


def test_two_entities_may_not_have_one_name() -> None:
    with pytest.raises(DeclarationError, match="entity transactions is declared twice"):
        catalogue(TRANSACTIONS, TRANSACTIONS)
