"""Lists of recent days of a provider without a feed: windows, vanished rows, settled pending rows, and quotas."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta

import pytest

from etl.db import migrations
from etl.declare.api.quota import Quota
from etl.declare.entity import Column, ColumnType
from etl.declare.provider import ErrorAction, ErrorRule
from etl.errors import TransientError
from etl.sync import estimate, resync
from etl.sync.logins import provider_calls
from etl.sync.logins.breaker import LoginsLate
from etl.sync.logins.store import provider_accounts
from etl.sync.recent import window
from tests.api_server import ApiServer, Reply
from tests.integration.sync.movements import (
    ENDED,
    LIVE,
    MOVEMENTS,
    SOURCE,
    TODAY,
    WITH_IDS,
    Bank,
    Rows,
    movement,
)
from tests.integration.sync.pipeline import Pipeline


def test_the_window_begins_earlier_at_first_and_after_missed_runs() -> None:
    today = date(2026, 11, 30)
    yesterday, earlier = date(2026, 11, 29), date(2026, 9, 20)
    assert window(SOURCE, None, None, today=today).first == date(2026, 10, 2)
    assert window(SOURCE, yesterday, yesterday, today=today).first == date(2026, 11, 1)
    assert window(SOURCE, earlier, earlier, today=today).first == date(2026, 9, 13)


def test_the_window_reaches_back_to_the_latest_complete_one_but_not_further_than_the_first_window() -> None:
    today, yesterday = date(2026, 11, 30), date(2026, 11, 29)
    assert window(SOURCE, yesterday, date(2026, 10, 21), today=today).first == date(2026, 10, 14)
    assert window(SOURCE, yesterday, date(2026, 1, 1), today=today).first == date(2026, 10, 2)
    assert window(SOURCE, yesterday, None, today=today).first == date(2026, 10, 2)
    assert window(SOURCE, date(2026, 9, 20), date(2026, 1, 1), today=today).first == date(2026, 9, 13)


def test_rows_are_read_again_each_run_and_one_that_vanishes_from_the_window_ends(
    pipeline: Pipeline, bank: Bank, api: ApiServer, rows: Rows
) -> None:
    bank.booked = [movement("a"), movement("b", days_ago=2), movement("old", days_ago=50)]
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
    bank.booked = [movement("a"), movement("b", days_ago=2), movement("c")]
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
    bank.booked = [movement(f"m{number}", days_ago=9 - number) for number in range(9)]
    pipeline.run("first")
    bank.booked = [movement("m0", days_ago=9)]
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
    pipeline.entity = replace(WITH_IDS, source=replace(SOURCE, quota=quota))
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


def test_a_provider_that_refuses_more_calls_by_a_code_leaves_its_login_late_with_the_pages_so_far(
    pipeline: Pipeline, bank: Bank, api: ApiServer, rows: Rows
) -> None:
    rule = ErrorRule(ErrorAction.NO_CALLS_LEFT, code="ENOUGH")
    pipeline.entity = replace(WITH_IDS, provider=replace(MOVEMENTS.provider, errors=(rule,), retries=2))
    bank.booked, bank.size = [movement(f"m{number}") for number in range(3)], 2
    enough = Reply({"error_code": "ENOUGH"}, 429)
    api.respond = lambda request: enough if request.query["page"] == "2" else bank.respond(request)
    pipeline.run("first")
    assert rows("select outcome from etl.left_out") == [("starved",)]
    with pytest.raises(LoginsLate):
        pipeline.check_logins("first")
    api.respond = bank.respond
    (counts,) = pipeline.run("later")
    assert (counts.inserted, [request.query["page"] for request in api.requests]) == (3, ["1", "2", "2"])


def test_a_call_that_gets_an_error_is_given_back_where_the_provider_does_not_count_it(
    pipeline: Pipeline, bank: Bank, rows: Rows
) -> None:
    quota = Quota(calls=4, per=timedelta(days=1))
    for counts_errors, calls in ((False, 1), (True, 3)):
        pipeline.entity = replace(MOVEMENTS, source=replace(SOURCE, quota=replace(quota, counts_errors=counts_errors)))
        bank.failure, bank.booked = Reply({}, 500), [movement("a")]
        with suppress(TransientError):
            pipeline.run(f"broken {counts_errors}")
        bank.failure = None
        pipeline.run(f"mended {counts_errors}")
        assert rows("select count(*) from etl.provider_calls") == [(calls,)]


def test_rows_of_days_before_the_oldest_record_of_a_list_do_not_end(pipeline: Pipeline, bank: Bank, rows: Rows) -> None:
    bank.booked = [movement("a", days_ago=2), movement("b", days_ago=9), movement("c", days_ago=4)]
    bank.pending = [movement("p", days_ago=12)]
    pipeline.run("first")
    bank.booked, bank.pending = [movement("d", days_ago=4)], []
    pipeline.run("less history, which may begin in the middle of a day")
    assert rows(LIVE) == [("b",), ("c",), ("d",)]


def test_kept_pages_that_cannot_be_continued_are_discarded_and_the_days_are_read_from_their_first_page(
    pipeline: Pipeline, bank: Bank, api: ApiServer
) -> None:
    pipeline.entity = replace(WITH_IDS, source=replace(SOURCE, quota=Quota(calls=3, per=timedelta(days=1))))
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
