"""The circuit breaker keeps logins from stopping all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.sync.logins.breaker import TooManyLoginsStopped
from etl.sync.logins.store import logins, provider_accounts
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

__all__ = ["one"]
"""A fixture."""

Rows = Callable[..., list[tuple[object, ...]]]


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
