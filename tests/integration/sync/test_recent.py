"""Lists of recent days of a provider without a feed: windows, vanished rows, settled pending rows, and quotas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from etl.catalog.queues import ETL
from etl.db import migrations
from etl.declare.api.auth import TokenHeader
from etl.declare.api.derived import Settlement
from etl.declare.api.paging import PageNumberPaging, Total
from etl.declare.api.quota import Quota
from etl.declare.api.request import Placeholder
from etl.declare.api.value import ByList, Identity, Negated
from etl.declare.entity import Column, ColumnType, Entity
from etl.declare.provider import Consent, ErrorAction, ErrorRule, Provider
from etl.declare.source import Recent
from etl.settings import Endpoint
from etl.sync import estimate, resync
from etl.sync.logins import provider_calls
from etl.sync.logins.breaker import LoginsLate
from etl.sync.logins.store import provider_accounts
from etl.sync.recent import window
from tests.api_server import ApiServer, Received, Reply
from tests.integration.sync.pipeline import Pipeline

Rows = Callable[..., list[tuple[Any, ...]]]
TODAY = datetime.now(UTC).date()

BANK = Provider(
    name="bank",
    connection="bank",
    auth=TokenHeader(),
    retries=0,
    errors=(ErrorRule(ErrorAction.STOP_ACCOUNT, code="EXPIRED"),),
    consent=Consent(lifetime=timedelta(days=90)),
)
SOURCE = Recent(
    name="movements_list",
    path="/accounts/{item_id}/movements",
    query={"from": Placeholder.FIRST_DAY, "to": Placeholder.LAST_DAY, "page": Placeholder.PAGE_NUMBER},
    upserts=("data.booked[]", "data.pending[]"),
    paging=PageNumberPaging(end=Total("total")),
    page_size=100,
    days=30,
    first_days=60,
    dated_by="dated_on",
    pending="pending",
)
MOVEMENTS = Entity(
    name="movements",
    summary="Movements of a bank without a feed.",
    provider=BANK,
    source=SOURCE,
    key=("provider_account_id", "movement_id"),
    columns=(
        Column("movement_id", ColumnType.TEXT, path="id", identity=Identity("dated_on", "amount", "note", "pending")),
        Column("account_id", ColumnType.TEXT, fill=Placeholder.ITEM_ID),
        Column("dated_on", ColumnType.DATE, path="date", format="%d.%m.%Y"),
        Column("amount", ColumnType.MONEY, sign=Negated()),
        Column("currency", ColumnType.TEXT),
        Column("note", ColumnType.TEXT, required=False),
        Column("pending", ColumnType.BOOLEAN, fill=ByList({"data.booked[]": False, "data.pending[]": True})),
    ),
    currencies=("currency",),
    settlement=Settlement(),
    queue=ETL,
    schedule="0 0 * * *",
)


@dataclass
class Bank:
    """A bank of one account with lists of movements; a page has `size` of them."""

    booked: list[dict[str, Any]] = field(default_factory=list)
    pending: list[dict[str, Any]] = field(default_factory=list)
    size: int = 100
    failure: Reply | None = None
    refuses_empty_pages: bool = False

    def respond(self, request: Received) -> Reply:
        """Return a page."""
        if self.failure is not None:
            return self.failure
        everything = [*((True, each) for each in self.booked), *((False, each) for each in self.pending)]
        start = (int(request.query["page"]) - 1) * self.size
        page = everything[start : start + self.size]
        if self.refuses_empty_pages and not page:
            return Reply({}, 404)
        lists = {
            "booked": [each for is_booked, each in page if is_booked],
            "pending": [each for is_booked, each in page if not is_booked],
        }
        return Reply({"data": lists, "total": len(everything)})


def movement(name: str | None, amount: str = "-5.00", *, days_ago: int = 3, **changes: object) -> dict[str, Any]:
    dated_on = TODAY - timedelta(days=days_ago)
    record = {"date": dated_on.strftime("%d.%m.%Y"), "amount": amount, "currency": "EUR", **changes}
    return record if name is None else {"id": name, **record}


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def api(bank: Bank) -> Iterator[ApiServer]:
    with ApiServer(bank.respond) as api:
        yield api


@pytest.fixture
def pipeline(scripted_pipeline: Pipeline, api: ApiServer) -> Pipeline:
    """Return the steps for an entity without any SQL of its own, with one login."""
    migrations.migrate(scripted_pipeline.db, [MOVEMENTS])
    scripted_pipeline.endpoint = Endpoint(api.url)
    scripted_pipeline.entity = MOVEMENTS
    enrol(scripted_pipeline, "a1")
    return scripted_pipeline


def enrol(pipeline: Pipeline, item_id: str) -> int:
    return provider_accounts.enrol(
        pipeline.db, pipeline.cipher, provider="bank", user="u", item_id=item_id, access_token="t"
    )


LIVE = "select movement_id from core.movements where removed_at is null order by 1"
ENDED = "select movement_id, removed_for, posted_as from core.movements where removed_at is not null order by 1"


def test_the_window_begins_earlier_at_first_and_after_missed_runs() -> None:
    today = date(2026, 11, 30)
    assert window(SOURCE, None, today=today).first == date(2026, 10, 2)
    assert window(SOURCE, date(2026, 11, 29), today=today).first == date(2026, 11, 1)
    assert window(SOURCE, date(2026, 9, 20), today=today).first == date(2026, 9, 13)


def test_rows_are_read_again_each_run_and_one_that_vanishes_from_the_window_ends(
    pipeline: Pipeline, bank: Bank, api: ApiServer, rows: Rows
) -> None:
    bank.booked = [movement("a"), movement("b"), movement("old", days_ago=50)]
    (first,) = pipeline.run("first")
    assert (first.inserted, first.unchanged) == (3, 0)
    assert rows("select account_id, amount::text, dated_on from core.movements where movement_id = 'a'") == [
        ("a1", "5.0000000000", TODAY - timedelta(days=3))
    ]
    bank.booked = [movement("a"), movement("c")]
    (second,) = pipeline.run("second")
    assert (second.inserted, second.unchanged) == (1, 1)
    assert rows(LIVE) == [("a",), ("c",), ("old",)]
    assert rows(ENDED) == [("b", "absent", None)]
    assert [request.query["from"] for request in api.requests] == [
        str(TODAY - timedelta(days=59)),
        str(TODAY - timedelta(days=29)),
    ]
    bank.booked = [movement("a"), movement("b"), movement("c")]
    pipeline.run("third")
    assert rows(LIVE) == [("a",), ("b",), ("c",), ("old",)]


def test_an_empty_list_and_a_rejected_record_end_no_row(pipeline: Pipeline, bank: Bank, rows: Rows) -> None:
    bank.booked = [movement("a"), movement("b")]
    pipeline.run("first")
    bank.booked = []
    pipeline.run("empty")
    assert rows(LIVE) == [("a",), ("b",)]
    bank.booked = [movement("a"), {**movement("b"), "date": "31.02.2026"}]
    pipeline.run("rejected")
    assert rows(LIVE) == [("a",), ("b",)]


def test_too_many_vanished_rows_wait_for_approval_and_can_be_brought_back(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked = [movement(f"m{number}") for number in range(9)]
    pipeline.run("first")
    bank.booked = [movement("m0")]
    pipeline.run("second")
    assert len(rows(LIVE)) == 9
    entities = {"movements": MOVEMENTS}
    (login,) = (each for (each,) in rows("select provider_account_id from core.provider_accounts where item_id = 'a1'"))
    resync.approve([login], entities=entities, db=pipeline.db, root=pipeline.root)
    assert rows(LIVE) == [("m0",)]
    resync.revoke([login], entities=entities, db=pipeline.db, root=pipeline.root)
    assert len(rows(LIVE)) == 9


def test_a_pending_row_that_vanishes_is_the_only_posted_row_that_fits(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    bank.booked = [movement("other", "-7.00")]
    bank.pending = [
        movement("p1", "-9.99"),
        movement("p2", "-1.00"),
        movement("p3", "-1.00"),
        movement("gone", "-4.00"),
    ]
    bank.pending.append(movement("ambiguous", "-3.00"))
    pipeline.run("first")
    bank.booked += [movement("b1", "-9.99", days_ago=1), movement("b2", "-1.00"), movement("late", "-4.00", days_ago=9)]
    bank.booked += [movement("t1", "-3.00"), movement("t2", "-3.00")]
    bank.pending = []
    pipeline.run("second")
    assert rows(ENDED) == [
        ("ambiguous", "absent", None),
        ("gone", "absent", None),
        ("p1", "posted", "b1"),
        ("p2", "absent", None),
        ("p3", "absent", None),
    ]


def test_a_pending_row_stays_while_the_posted_record_that_names_it_is_rejected(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    columns = (*MOVEMENTS.columns, Column("pending_id", ColumnType.TEXT, required=False))
    pipeline.entity = replace(MOVEMENTS, columns=columns, replaces="pending_id")
    migrations.migrate(pipeline.db, [pipeline.entity])
    bank.booked, bank.pending = [movement("a", "-1.00")], [movement("p")]
    pipeline.run("first")
    posted = movement("b", pending_id="p")
    bank.booked, bank.pending = [*bank.booked, {**posted, "date": "31.02.2026"}], []
    pipeline.run("second")
    assert rows(LIVE) == [("a",), ("p",)]
    bank.booked[1] = posted
    pipeline.run("third")
    assert (rows(LIVE), rows(ENDED)) == ([("a",), ("b",)], [("p", "posted", "b")])


def test_twins_without_ids_are_two_rows_and_stay_the_same_rows(pipeline: Pipeline, bank: Bank, rows: Rows) -> None:
    bank.booked = [movement(None), movement(None), movement(None, "-6")]
    pipeline.run("first")
    before = rows(LIVE)
    bank.booked.reverse()
    (second,) = pipeline.run("second")
    assert (len(before), second.unchanged, rows(LIVE)) == (3, 3, before)


def test_a_login_without_calls_keeps_its_pages_is_late_and_continues(
    pipeline: Pipeline, bank: Bank, api: ApiServer, rows: Rows
) -> None:
    quota = Quota(calls=2, per=timedelta(days=1))
    pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=quota))
    bank.booked, bank.size = [movement(f"m{number}") for number in range(5)], 2
    assert pipeline.run("first")[0].read == 0
    assert rows("select outcome from etl.left_out") == [("starved",)]
    assert pipeline.report("first")["accounts_starved"] == 1
    with pytest.raises(LoginsLate, match=r"movements: 1 logins are late: their quota allows no more calls now \(\d+\)"):
        pipeline.check_logins("first")
    planned = estimate.estimate_run(pipeline.entity, db=pipeline.db)
    assert planned.late_logins == 1
    pipeline.run("too early")
    assert len(api.requests) == 2
    pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '25 hours'")
    (counts,) = pipeline.run("next day")
    assert (counts.inserted, [request.query["page"] for request in api.requests]) == (5, ["1", "2", "3"])
    pipeline.check_logins("next day")
    assert rows("select first_on, last_on from etl.recent_reads") == [(TODAY - timedelta(days=59), TODAY)]
    use = provider_calls.count_used(pipeline.db, provider="bank", source="movements_list", quota=quota)
    assert (use.used, use.exhausted) == (1, 0)


def test_kept_pages_that_cannot_be_continued_are_discarded_and_the_days_are_read_from_their_first_page(
    pipeline: Pipeline, bank: Bank, api: ApiServer
) -> None:
    pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=Quota(calls=3, per=timedelta(days=1))))
    bank.booked, bank.size, bank.refuses_empty_pages = [movement(f"m{number}") for number in range(7)], 2, True
    pipeline.run("first")
    pipeline.db.execute("update etl.provider_calls set called_at = called_at - interval '25 hours'")
    bank.size = 100
    (counts,) = pipeline.run("next day")
    assert [request.query["page"] for request in api.requests] == ["1", "2", "3", "4", "1", "1"]
    assert counts.inserted == 7


def test_a_provider_that_says_that_no_call_is_left_is_believed_over_the_own_count(
    pipeline: Pipeline, bank: Bank, api: ApiServer, rows: Rows
) -> None:
    quota = Quota(calls=4, per=timedelta(days=1), reset_header="X-Reset")
    pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=quota))
    bank.failure = Reply({}, 429, {"X-Reset": "7200"})
    pipeline.run("first")
    bank.failure = None
    pipeline.run("second")
    assert len(api.requests) == 1
    assert rows("select distinct outcome from etl.left_out") == [("starved",)]
    pipeline.db.execute("update etl.provider_blocks set blocked_until = now()")
    bank.booked = [movement("a")]
    assert pipeline.run("third")[0].inserted == 1


def test_a_consent_that_ends_is_foretold_and_then_stops_its_login(
    pipeline: Pipeline, bank: Bank, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    bank.booked = [movement("a")]
    (login,) = (each for (each,) in rows("select provider_account_id from core.provider_accounts where item_id = 'a1'"))
    provider_accounts.set_consent(pipeline.db, login, lifetime=timedelta(days=3))
    pipeline.run("first")
    assert pipeline.report("first")["logins_consent_expiring"] == 1
    assert "the consents of 1 logins end within 7 days" in caplog.text
    provider_accounts.set_consent(pipeline.db, login, lifetime=timedelta(seconds=-1))
    pipeline.report("first")
    assert rows("select state, state_reason from core.provider_accounts where item_id = 'a1'") == [
        ("needs_login", "CONSENT_EXPIRED")
    ]
