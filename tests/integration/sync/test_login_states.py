"""Logins that stop, wait, and come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.entities.accounts import ACCOUNTS
from etl.db.connection import Connection
from etl.sync.estimate import estimate_run
from etl.sync.logins.breaker import TooManyLoginsQuarantined
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.store import cursors
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
LOGIN_REQUIRED = refusal("ITEM_ERROR", "ITEM_LOGIN_REQUIRED")
INVALID_TOKEN = refusal("INVALID_INPUT", "INVALID_ACCESS_TOKEN")
STATE = "select state, state_reason, failed_tries from core.provider_accounts order by provider_account_id"
STATES = "select state from core.provider_accounts order by provider_account_id"
OUTCOMES = "select outcome, accepted from etl.left_out order by chunk_id, attempt, provider_account_id"
GOOD = page(added=[transaction()], next_cursor="c1")


def make_due(db: Connection) -> None:
    db.execute("update core.provider_accounts set next_try_at = now() where state = 'needs_login'")


def run(pipeline: Pipeline, run_id: str) -> dict[str, int]:
    """Run all steps and the report."""
    pipeline.run(run_id)
    return pipeline.report(run_id)


@pytest.fixture
def one(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return a pipeline whose login `one` is asked to log in, beside two healthy ones."""
    scripted_pipeline.enrol("one", "calm", "quiet")
    scripted_bank.script("one", LOGIN_REQUIRED)
    scripted_bank.script("calm", GOOD)
    scripted_bank.script("quiet", GOOD)
    return scripted_pipeline


def test_a_stop_is_a_proposal_until_the_report(one: Pipeline, rows: Rows) -> None:
    one.run("run")
    assert rows(STATES) == [("active",)] * 3
    assert rows(OUTCOMES) == [("stopped", None)]
    one.report("run")
    assert rows(STATE)[0] == ("needs_login", "ITEM_LOGIN_REQUIRED", 0)
    assert rows(OUTCOMES) == [("stopped", True)]
    one.check_logins("run")


def test_a_login_that_needs_one_is_not_asked_before_its_next_try(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    run(one, "run")
    ((wait,),) = rows("select next_try_at - state_since from core.provider_accounts where state = 'needs_login'")
    assert timedelta(minutes=30) <= wait <= timedelta(hours=1)  # type: ignore[operator]
    run(one, "next")
    assert len(scripted_bank.requests["one"]) == 1
    assert rows("select outcome from etl.chunks order by chunk_id") == [
        ({"stopped": 1, "drained": 2},),
        ({"drained": 2},),
    ]


def test_a_login_that_waits_between_others_of_its_chunk_is_not_asked(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    provider_accounts.require_login(one.db, [2], reason="ITEM_LOGIN_REQUIRED")
    run(one, "run")
    assert rows("select start, stop, outcome from etl.chunks") == [(1, 4, {"stopped": 1, "drained": 1})]
    assert scripted_bank.requests["calm"] == []


def test_each_failed_try_doubles_the_wait_up_to_a_week_and_counts_for_no_breaker(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    run(one, "run")
    waits: list[timedelta] = []
    for tries in range(1, 12):
        make_due(one.db)
        assert run(one, f"try {tries}")["accounts_still_stopped"] == 1
        one.check_logins(f"try {tries}")
        ((failed, wait),) = rows(
            "select failed_tries, next_try_at - now() from core.provider_accounts where state <> 'active'"
        )
        assert failed == tries
        waits.append(wait)  # type: ignore[arg-type]
    longest = [min(timedelta(hours=2**tries), timedelta(days=7)) for tries in range(1, 12)]
    assert all(most / 2 - timedelta(minutes=1) < wait <= most for wait, most in zip(waits, longest, strict=True))
    assert len(scripted_bank.requests["one"]) == 12


def test_all_logins_that_still_need_one_fail_no_run(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> None:
    logins_of_run = scripted_pipeline.enrol("a", "b", "c", "d")
    for token in "abcd":
        scripted_bank.script(token, LOGIN_REQUIRED)
    provider_accounts.require_login(scripted_pipeline.db, logins_of_run, reason="ITEM_LOGIN_REQUIRED")
    make_due(scripted_pipeline.db)
    assert run(scripted_pipeline, "run")["accounts_still_stopped"] == 4
    scripted_pipeline.check_logins("run")


def test_a_login_mended_with_the_same_token_resumes_by_itself(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    run(one, "run")
    scripted_bank.script("one", GOOD)
    make_due(one.db)
    counts = run(one, "next")
    assert rows(STATE)[0] == ("active", None, 0)
    assert rows("select next_try_at from core.provider_accounts") == [(None,)] * 3
    assert (counts["accounts_drained"], counts["logins_active"]) == (3, 3)
    assert rows("select count(*) from core.transactions") == [(3,)]


def test_reporting_again_neither_stops_a_resumed_login_nor_counts_a_try_twice(one: Pipeline, rows: Rows) -> None:
    run(one, "run")
    make_due(one.db)
    run(one, "next")
    before = rows("select state, failed_tries, next_try_at from core.provider_accounts order by 1")
    one.report("run")
    one.report("next")
    assert rows("select state, failed_tries, next_try_at from core.provider_accounts order by 1") == before
    provider_accounts.resume(one.db, [1])
    one.report("run")
    one.report("next")
    assert rows(STATES) == [("active",)] * 3


def test_a_try_that_two_runs_made_counts_once(one: Pipeline, rows: Rows) -> None:
    run(one, "run")
    make_due(one.db)
    for run_id in ("one", "other"):
        one.plan(run_id)
        one.download(run_id)
    for run_id in ("one", "other"):
        one.report(run_id)
    assert rows("select failed_tries from core.provider_accounts where provider_account_id = 1") == [(1,)]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda pipeline: pipeline.enrol("one"), "active"),
        (lambda pipeline: provider_accounts.suspend(pipeline.db, [1], reason="asked"), "suspended"),
        (
            lambda pipeline: pipeline.db.execute(
                "update core.provider_accounts set state = 'suspended', state_since = now() - interval '1 hour'"
            ),
            "suspended",
        ),
        (lambda pipeline: provider_accounts.unlink(pipeline.db, 1, token_version=1, reason="asked"), "unlinked"),
        (
            lambda pipeline: (
                provider_accounts.suspend(pipeline.db, [1], reason="asked"),
                provider_accounts.resume(pipeline.db, [1]),
            ),
            "active",
        ),
    ],
    ids=["linked again", "suspended", "suspended while it was read", "unlinked", "resumed"],
)
def test_a_login_that_changed_since_its_token_was_used_is_not_stopped(
    one: Pipeline, rows: Rows, change: Callable[[Pipeline], object], state: str
) -> None:
    one.run("run")
    change(one)
    one.report("run")
    assert rows(STATES)[0] == (state,)
    assert rows(OUTCOMES) == [("stopped", False)]


def test_an_old_token_that_still_fails_does_not_put_off_a_login_that_was_linked_and_stopped_again(
    one: Pipeline, rows: Rows
) -> None:
    run(one, "run")
    make_due(one.db)
    one.plan("late")
    one.download("late")
    one.enrol("one")
    provider_accounts.require_login(one.db, [1], reason="by hand")
    one.db.execute("update core.provider_accounts set next_try_at = now() - interval '1 day' where state <> 'active'")
    one.report("late")
    assert rows(STATE)[0] == ("needs_login", "by hand", 0)


def test_a_success_resumes_no_login_that_was_suspended_meanwhile(one: Pipeline, rows: Rows) -> None:
    provider_accounts.suspend(one.db, [1], reason="asked")
    provider_accounts.resume_after_success(one.db, [1])
    assert rows(STATE)[0] == ("suspended", "asked", 0)


@pytest.mark.parametrize("stop", ["needs_login", "suspended", "unlinked", "replaced"])
def test_linking_a_login_again_makes_it_active_whatever_its_state(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows, stop: str
) -> None:
    one.db.execute(
        "update core.provider_accounts set state = %s, next_try_at = case when %s = 'needs_login' then now() end, "
        "access_token = case when %s <> 'unlinked' then access_token end, "
        "replaced_by = case when %s = 'replaced' then 2 end where provider_account_id = 1",
        [stop] * 4,
    )
    scripted_bank.script("one", GOOD)
    one.enrol("one")
    assert rows("select state, token_version, replaced_by from core.provider_accounts where item_id = 'item-one'") == [
        ("active", 2, None)
    ]
    assert run(one, "run")["accounts_drained"] == 3


@pytest.mark.parametrize("state", ["suspended", "unlinked", "replaced"])
def test_a_login_that_only_a_person_resumes_is_neither_planned_nor_asked(one: Pipeline, rows: Rows, state: str) -> None:
    one.plan("run")
    one.db.execute(
        "update core.provider_accounts set state = %s, "
        "access_token = case when %s <> 'unlinked' then access_token end, "
        "replaced_by = case when %s = 'replaced' then 2 end where provider_account_id = 1",
        [state] * 3,
    )
    one.download("run")
    assert rows("select outcome from etl.chunks") == [({"drained": 2},)]
    one.plan("next")
    assert rows("select start from etl.chunks where run_id = 'next'") == [(2,)]


def test_a_due_login_is_planned_into_even_chunks_and_one_that_waits_is_not(one: Pipeline, rows: Rows) -> None:
    one.entity = replace(one.entity, chunk_size=1)
    one.enrol("four", "five")
    provider_accounts.require_login(one.db, [1, 2, 3, 5], reason="ITEM_LOGIN_REQUIRED")
    one.db.execute("update core.provider_accounts set next_try_at = now() where provider_account_id = 2")
    assert one.plan("run") == [0, 1]
    assert rows("select start, stop from etl.chunks order by ordinal") == [(2, 4), (4, 5)]
    estimate = estimate_run(one.entity, db=one.db)
    assert (estimate.unit_count, estimate.chunks) == (2, 2)


def test_an_estimate_warns_of_a_run_that_outlasts_its_deadline_and_of_chunks_that_outlast_a_task(one: Pipeline) -> None:
    one.enrol(*(f"login {number}" for number in range(2_000)))
    one.entity = replace(one.entity, max_chunks=4)
    fits = estimate_run(one.entity, db=one.db)
    assert not fits.warnings
    assert timedelta(seconds=30) < fits.chunk_duration < fits.min_duration < timedelta(minutes=1)
    hasty = replace(one.entity, deadline=fits.min_duration, timeout=fits.chunk_duration)
    assert not estimate_run(hasty, db=one.db).warnings
    hastier = replace(one.entity, deadline=timedelta(seconds=40), timeout=timedelta(seconds=30))
    run, chunk = estimate_run(hastier, db=one.db).warnings
    assert "longer than the deadline of 1 min" in run
    assert "while 3 run, longer than the timeout of a task of 0 min: cut the run into more than 4 chunks" in chunk
    assert "(raise `max_chunks`, which is 4)" in chunk
    *_, chunk = estimate_run(replace(hastier, chunk_size=1_500), db=one.db).warnings
    assert "while 2 run" in chunk
    assert "more than 3 chunks (lower `chunk_size`, which is 1500)" in chunk


def test_expiring_cursors_are_those_of_logins_that_are_asked_now_or_later_and_the_warning_names_a_resync(
    one: Pipeline, scripted_bank: ScriptedBank, caplog: pytest.LogCaptureFixture
) -> None:
    scripted_bank.script("one", GOOD)
    run(one, "run")
    assert "have not moved" not in caplog.text
    one.db.execute("update etl.cursors set moved_at = now() - interval '400 days'")
    provider_accounts.require_login(one.db, [1], reason="ITEM_LOGIN_REQUIRED")
    provider_accounts.suspend(one.db, [2], reason=None)
    one.report("run")
    assert "2 cursors of transactions_sync have not moved for 334 days" in caplog.text
    assert "`sluice resync 1 3` lets the next run read these logins" in caplog.text
    caplog.clear()
    cursors.request_full_read(one.db, [1, 3], feeds=["transactions_sync"])
    one.report("run")
    assert "have not moved" not in caplog.text


def test_a_report_counts_logins_by_state_and_reason(one: Pipeline) -> None:
    provider_accounts.suspend(one.db, [3], reason="asked")
    counts = run(one, "run")
    assert {name: count for name, count in counts.items() if name.startswith("logins_")} == {
        "logins_active": 1,
        "logins_needs_login": 1,
        "logins_needs_login_ITEM_LOGIN_REQUIRED": 1,
        "logins_suspended": 1,
    }


def test_a_snapshot_stops_and_resumes_logins_as_a_feed_does(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    one.entity = replace(ACCOUNTS, provider=one.entity.provider)
    accounts = Answer(b'{"accounts": []}')
    for token in ("calm", "quiet"):
        scripted_bank.script(token, accounts)
    run(one, "run")
    assert rows(STATES)[0] == ("needs_login",)
    scripted_bank.script("one", accounts)
    make_due(one.db)
    run(one, "next")
    assert rows(STATES)[0] == ("active",)


def quarantine(pipeline: Pipeline, run_id: str, count: int, *, path: str = "added[].amount") -> None:
    """Quarantine the first logins of a run, as its load does."""
    pipeline.db.execute(
        "insert into etl.left_out (chunk_id, attempt, provider_account_id, outcome, reason) "
        "select c.chunk_id, c.attempts, n, 'quarantined', '' from etl.chunks as c, generate_series(1, %s) as n "
        "where c.run_id = %s",
        [count, run_id],
    )
    pipeline.db.execute(
        "insert into etl.quarantines (provider_account_id, entity, source, raw_id, read, rejected, path, rule, reason) "
        "select n, 'transactions', 'transactions_sync', (select max(raw_id) from etl.raw_batches), 30, 21, "
        "case n when 1 then 'added[].date' else %s end, 'decimal', '' from generate_series(1, %s) as n",
        [path, count],
    )


def test_many_quarantined_logins_fail_the_run_with_the_path_and_rule_that_most_share(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    for token in "abcde":
        scripted_bank.script(token, GOOD)
    scripted_pipeline.enrol(*"abcde")
    run(scripted_pipeline, "run")
    quarantine(scripted_pipeline, "run", 4)
    with pytest.raises(TooManyLoginsQuarantined) as raised:
        scripted_pipeline.check_logins("run")
    first, remedy, by_hand = str(raised.value).splitlines()
    assert first == (
        "4 of 5 logins are quarantined, 3 of them mostly by decimal at added[].amount: "
        "plaid has probably changed its API."
    )
    assert "sluice rejects list --entity transactions" in remedy
    assert "`sluice quarantine accept 1 2 3 4 --entity transactions`." in by_hand


def test_a_few_quarantined_logins_fail_no_run_and_are_counted_as_such(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    for token in "abcde":
        scripted_bank.script(token, GOOD)
    scripted_pipeline.enrol(*"abcde")
    run(scripted_pipeline, "run")
    quarantine(scripted_pipeline, "run", 2)
    scripted_pipeline.check_logins("run")
    counts = scripted_pipeline.report("run")
    assert (counts["logins_active"], counts["logins_quarantined"]) == (3, 2)
    provider_accounts.suspend(scripted_pipeline.db, [1], reason="asked")
    states = {each.state: each.logins for each in logins.count_by_state(scripted_pipeline.db)}
    assert states == {"active": 3, "quarantined": 1, "suspended": 1}
