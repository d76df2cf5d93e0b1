"""The circuit breaker keeps logins from stopping all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from etl.sync.load import accept
from etl.sync.logins.breaker import TooManyLoginsQuarantined, TooManyLoginsStopped
from etl.sync.logins.store import logins, provider_accounts
from etl.sync.store import interruptions
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank
from tests.integration.sync.test_login_states import (
    GOOD,
    INVALID_TOKEN,
    LOGIN_REQUIRED,
    OUTCOMES,
    STATES,
    make_due,
    one,
    run,
)
from tests.unit.sync.samples import page, transaction

__all__ = ["one"]
"""A fixture."""

Rows = Callable[..., list[tuple[object, ...]]]
WAITS = "select next_try_at - now() from core.provider_accounts where provider_account_id between 5 and 10"


def test_one_code_for_half_of_the_logins_stops_none_and_fails_the_run_with_code_counts_and_remedy(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    tokens = [f"t{number}" for number in range(30)]
    scripted_pipeline.enrol(*tokens)
    for token in tokens:
        scripted_bank.script(token, INVALID_TOKEN, GOOD)
    counts = run(scripted_pipeline, "run")
    assert rows(STATES) == [("active",)] * 30
    assert counts["accounts_stopped"] == counts["logins_active"] == 30
    with pytest.raises(TooManyLoginsStopped) as raised:
        scripted_pipeline.check_logins("run")
    first, remedy, by_hand = str(raised.value).splitlines()
    assert first.startswith("plaid answered INVALID_ACCESS_TOKEN for 30 of 30 logins: ")
    assert "connection `plaid` probably has the wrong host" in remedy
    assert by_hand.endswith("`sluice logins stop --retry 1 2 3 4 5 6 7 8 9 10`, and so on for 20 more.")
    run(scripted_pipeline, "mended")
    scripted_pipeline.check_logins("mended")
    assert rows("select count(*) from core.transactions") == [(30,)]


def test_the_breaker_judges_each_code_by_itself(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol("a", "b", "c", "d")
    answers: dict[str, Answer | bytes] = {"a": INVALID_TOKEN, "b": INVALID_TOKEN, "c": LOGIN_REQUIRED, "d": GOOD}
    for token, answer in answers.items():
        scripted_bank.script(token, answer)
    run(scripted_pipeline, "run")
    assert rows(STATES) == [("active",), ("active",), ("needs_login",), ("active",)]
    assert rows(OUTCOMES) == [("stopped", False), ("stopped", False), ("stopped", True)]
    with pytest.raises(TooManyLoginsStopped, match="INVALID_ACCESS_TOKEN for 2 of 4 logins"):
        scripted_pipeline.check_logins("run")


def test_the_breaker_counts_over_all_chunks_of_a_run(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.entity = replace(scripted_pipeline.entity, chunk_size=1)
    scripted_pipeline.enrol("a", "b", "c")
    answers: dict[str, Answer | bytes] = {"a": INVALID_TOKEN, "b": GOOD, "c": INVALID_TOKEN}
    for token, answer in answers.items():
        scripted_bank.script(token, answer)
    run(scripted_pipeline, "run")
    assert rows(STATES) == [("active",)] * 3
    with pytest.raises(TooManyLoginsStopped, match="2 of 3"):
        scripted_pipeline.check_logins("run")


def test_only_the_latest_attempt_of_a_chunk_counts_and_is_settled(
    one: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_bank.script("calm", LOGIN_REQUIRED)
    one.plan("run")
    one.download("run")
    scripted_bank.script("one", GOOD)
    one.download("run")
    one.report("run")
    assert rows(STATES) == [("active",), ("needs_login",), ("active",)]
    one.check_logins("run")


def test_failed_tries_of_logins_that_needed_one_do_not_make_a_wave_look_small(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_pipeline.enrol(*"abcdef")
    for token in "abcdef":
        scripted_bank.script(token, LOGIN_REQUIRED)
    scripted_bank.script("c", GOOD)
    provider_accounts.require_login(scripted_pipeline.db, [4, 5, 6], reason="ITEM_LOGIN_REQUIRED")
    make_due(scripted_pipeline.db)
    run(scripted_pipeline, "run")
    assert rows(STATES) == [*[("active",)] * 3, *[("needs_login",)] * 3]
    with pytest.raises(TooManyLoginsStopped, match="for 2 of 3 logins"):
        scripted_pipeline.check_logins("run")


def test_a_login_without_a_readable_token_is_not_counted_as_asked(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    locked = scripted_pipeline.enrol("a", "b", "c", "d")[2:]
    scripted_bank.script("a", LOGIN_REQUIRED)
    scripted_bank.script("b", GOOD)
    scripted_pipeline.db.execute(
        "update core.provider_accounts set access_token = 'x' where provider_account_id = any(%s)", [locked]
    )
    run(scripted_pipeline, "run")
    assert logins.count_asked(scripted_pipeline.db, entity="transactions", run_id="run") == 2
    assert rows("select token_version from etl.left_out order by provider_account_id") == [(1,), (None,), (None,)]


def records(token: str, *, bad: int = 0, good: int = 0) -> bytes:
    """Return a page of a login, of which some records have another name for `date`."""
    added = [transaction(transaction_id=f"{token}{number}") for number in range(bad + good)]
    for record in added[:bad]:
        record["posted_date"] = record.pop("date")
    return page(added=added, next_cursor="c1")


@pytest.fixture
def changed_api(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return a pipeline after a run for which the provider renamed a required field in four of five logins."""
    scripted_pipeline.enrol(*"abcde")
    for token in "abcd":
        scripted_bank.script(token, records(token, bad=25, good=5))
    scripted_bank.script("e", records("e", good=30))
    run(scripted_pipeline, "changed")
    return scripted_pipeline


def test_a_changed_api_fails_the_run_with_path_and_rule_and_is_loaded_in_full_once_it_is_mended(
    changed_api: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    with pytest.raises(TooManyLoginsQuarantined) as raised:
        changed_api.check_logins("changed")
    first, remedy, by_hand = str(raised.value).splitlines()
    assert first == (
        "4 of 5 logins are quarantined, 4 of them mostly by type at added[].date: plaid has probably changed its API."
    )
    assert "fix include/etl/catalog/entities/transactions.py" in remedy
    assert "`sluice quarantine accept 1 2 3 4 --entity transactions`" in by_hand
    assert rows("select value, generation from etl.cursors order by provider_account_id") == [("", 0)] * 4 + [("c1", 1)]
    assert rows("select distinct provider_account_id from core.transactions") == [(5,)]
    for token in "abcd":
        scripted_bank.script(token, records(token, good=30))
    scripted_bank.script("e", page(next_cursor="c1"))
    run(changed_api, "mended")
    assert [scripted_bank.requests[token][-1].get("cursor") for token in "abcde"] == [None] * 4 + ["c1"]
    assert rows("select count(*) from core.transactions group by provider_account_id") == [(30,)] * 5
    assert rows("select count(*) from etl.quarantines") == [(0,)]
    for run_id in ("mended", "changed"):
        changed_api.check_logins(run_id)


def test_a_run_passes_its_check_again_once_enough_of_its_quarantines_were_accepted(
    changed_api: Pipeline, rows: Rows
) -> None:
    run(changed_api, "next")
    for login, is_resolved in ((1, False), (2, True)):
        assert accept(changed_api.entity, login, db=changed_api.db, root=changed_api.root) is not None
        for run_id in ("next", "changed"):
            if is_resolved:
                changed_api.check_logins(run_id)
            else:
                with pytest.raises(TooManyLoginsQuarantined, match="3 of 5 logins"):
                    changed_api.check_logins(run_id)
    assert rows("select provider_account_id from etl.quarantines order by 1") == [(3,), (4,)]


def test_logins_that_killed_the_process_fail_the_run_with_another_remedy(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    for number, token in enumerate("abc"):
        scripted_pipeline.enrol(token)
        scripted_bank.script(token, records(token, good=1 + number))
    run(scripted_pipeline, "run")
    for login in (1, 2):
        interruptions.quarantine(scripted_pipeline.db, 1, login, entity="transactions")
    with pytest.raises(TooManyLoginsQuarantined) as raised:
        scripted_pipeline.check_logins("run")
    first, _, by_hand = str(raised.value).splitlines()
    assert first == "2 of 3 logins are quarantined, 2 of them since their pages killed the process."
    assert "`sluice quarantine list --entity transactions`" in by_hand
    assert "accept" not in str(raised.value)


@pytest.fixture
def refused(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return a pipeline after a run in which four of five logins had an invalid token."""
    scripted_pipeline.enrol(*"abcde")
    for token in "abcd":
        scripted_bank.script(token, INVALID_TOKEN)
    scripted_bank.script("e", GOOD)
    run(scripted_pipeline, "refused")
    return scripted_pipeline


def test_a_refused_wave_is_resolved_by_the_next_run_that_reads_the_logins(
    refused: Pipeline, scripted_bank: ScriptedBank
) -> None:
    with pytest.raises(TooManyLoginsStopped, match="for 4 of 5 logins"):
        refused.check_logins("refused")
    scripted_bank.script("a", records("a", good=1))
    run(refused, "half")
    with pytest.raises(TooManyLoginsStopped, match="for 3 of 5 logins") as raised:
        refused.check_logins("refused")
    assert "`sluice logins stop --retry 2 3 4`" in str(raised.value)
    scripted_bank.script("b", records("b", good=1))
    run(refused, "mended")
    refused.check_logins("refused")


@pytest.mark.parametrize(
    "resolve",
    [
        lambda pipeline: provider_accounts.require_login(pipeline.db, [1, 2], reason="by hand"),
        lambda pipeline: provider_accounts.suspend(pipeline.db, [1, 2], reason="by hand"),
        lambda pipeline: pipeline.enrol("a", "b"),
        lambda pipeline: (
            provider_accounts.suspend(pipeline.db, [1, 2], reason="by hand"),
            provider_accounts.resume(pipeline.db, [1, 2]),
        ),
    ],
    ids=["stopped with retries", "suspended", "linked again", "resumed"],
)
def test_a_refused_wave_is_resolved_by_a_person(refused: Pipeline, resolve: Callable[[Pipeline], object]) -> None:
    resolve(refused)
    refused.check_logins("refused")
    refused.report("refused")
    refused.check_logins("refused")


def test_after_a_refused_wave_active_logins_are_asked_by_each_run_and_waiting_ones_with_bounded_growing_waits(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    active, due, waiting = "abcd", "efghij", "kl"
    for token in active + due + waiting:
        scripted_bank.script(token, INVALID_TOKEN)
    ids = scripted_pipeline.enrol(*(active + due + waiting))
    provider_accounts.require_login(scripted_pipeline.db, ids[4:], reason="INVALID_ACCESS_TOKEN")
    next_tries = "select next_try_at from core.provider_accounts where provider_account_id > 10 order by 1"
    untouched = rows(next_tries)
    longest: list[timedelta] = []
    for tries in range(1, 11):
        scripted_pipeline.db.execute(
            "update core.provider_accounts set next_try_at = now() where provider_account_id = any(%s)", [ids[4:10]]
        )
        run(scripted_pipeline, f"try {tries}")
        with pytest.raises(TooManyLoginsStopped, match="for 4 of 4 logins"):
            scripted_pipeline.check_logins(f"try {tries}")
        run(scripted_pipeline, f"at once {tries}")
        waits = [wait for (wait,) in rows(WAITS)]
        assert len(set(waits)) == len(due)
        most = min(timedelta(hours=2**tries), timedelta(days=7))
        assert all(most / 2 - timedelta(minutes=1) < wait <= most for wait in waits)  # type: ignore[operator]
        longest.append(max(waits))  # type: ignore[type-var, arg-type]
    assert all(earlier < later for earlier, later in pairwise(longest[::2]) if later < timedelta(days=3))
    assert {token: len(scripted_bank.requests[token]) for token in active + due + waiting} == {
        **dict.fromkeys(active, 20),
        **dict.fromkeys(due, 10),
        **dict.fromkeys(waiting, 0),
    }
    assert rows(next_tries) == untouched
    for token in active + due + waiting:
        scripted_bank.script(token, GOOD)
    make_due(scripted_pipeline.db)
    run(scripted_pipeline, "mended")
    scripted_pipeline.check_logins("mended")
    assert rows("select distinct state from core.provider_accounts") == [("active",)]
