"""Logins that a provider tells to wait: the others are drained first, and a chunk gives way only if none can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from etl.declare.provider import LimitScope, RateLimit
from etl.declare.source import Feed
from etl.errors import ProviderUnavailable
from etl.sync.drain import chunk as drain
from etl.sync.drain.chunk import ProviderRetryAfter
from etl.sync.provider import client
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
OUTCOMES = "select attempts, outcome from etl.chunks"
SKIPPED = "select provider_account_id, outcome, reason from etl.left_out"
TEN = [f"login {number}" for number in range(10)]


def busy(seconds: int) -> Answer:
    return refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=str(seconds))


@pytest.fixture
def ten(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    """Return the steps of a sync of ten logins."""
    scripted_pipeline.enrol(*TEN)
    for token in TEN:
        scripted_bank.script(token, page(added=[transaction(transaction_id=token)], next_cursor="c"))
    scripted_pipeline.plan("run")
    return scripted_pipeline


def test_one_login_that_waits_too_long_does_not_hold_up_the_nine_others(
    ten: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_bank.script(TEN[0], busy(900))
    before = datetime.now(UTC)
    assert ten.load(ten.fetch("run")).inserted == 9
    assert rows(OUTCOMES) == [(1, {"unreachable": 1, "drained": 9})]
    ((account, outcome, reason),) = rows(SKIPPED)
    assert (account, outcome) == (1, "unreachable")
    code, _, instant = str(reason).partition("; to be asked again after ")
    assert code == "TRANSACTIONS_LIMIT"
    until = datetime.strptime(instant, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    assert timedelta(seconds=898) < until - before < timedelta(seconds=930)
    assert len(scripted_bank.requests[TEN[0]]) == 1


def test_a_login_whose_wait_is_short_is_drained_after_the_others(
    ten: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("provider.client", "drain.account"):
        monkeypatch.setattr(f"etl.sync.{module}.MAX_WAIT_IN_TASK", timedelta())
    scripted_bank.script(TEN[0], busy(2), page(added=[transaction(transaction_id="late")], next_cursor="c"))
    assert ten.load(ten.fetch("run")).inserted == 10
    assert rows(OUTCOMES) == [(1, {"drained": 10})]


def test_a_login_that_has_to_wait_twice_is_skipped(
    ten: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("provider.client", "drain.account"):
        monkeypatch.setattr(f"etl.sync.{module}.MAX_WAIT_IN_TASK", timedelta())
    scripted_bank.script(TEN[0], busy(1))
    assert ten.load(ten.fetch("run")).inserted == 9
    assert rows(OUTCOMES) == [(1, {"unreachable": 1, "drained": 9})]
    assert len(scripted_bank.requests[TEN[0]]) == 2


def test_a_chunk_whose_logins_all_have_to_wait_gives_way_but_not_for_ever(
    ten: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MAX_WAIT_AT_END", timedelta())
    for token in TEN:
        scripted_bank.script(token, busy(75))
    for _ in range(drain.MAX_RESCHEDULED_ATTEMPTS):
        with pytest.raises(ProviderRetryAfter, match=r"plaid: TRANSACTIONS_LIMIT, .* after 0:01:15; none of") as raised:
            ten.download("run")
        assert raised.value.wait == timedelta(seconds=75)
    with pytest.raises(ProviderUnavailable, match="TRANSACTIONS_LIMIT; to be asked again after"):
        ten.download("run")
    assert rows(OUTCOMES) == [(5, {"unreachable": 10})]


def test_a_chunk_with_an_unreachable_login_does_not_give_way(
    ten: Pipeline, scripted_bank: ScriptedBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MAX_WAIT_AT_END", timedelta())
    for token in TEN:
        scripted_bank.script(token, busy(75))
    scripted_bank.script(TEN[0], Answer(b"", 503))
    with pytest.raises(ProviderUnavailable):
        ten.download("run")


def test_a_provider_that_tells_everybody_to_wait_is_soon_left_alone(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank
) -> None:
    tokens = [f"login {number}" for number in range(60)]
    scripted_pipeline.enrol(*tokens)
    for token in tokens:
        scripted_bank.script(token, busy(75))
    scripted_pipeline.plan("run")
    with pytest.raises(ProviderRetryAfter):
        scripted_pipeline.download("run")
    assert len(scripted_bank.requests) <= drain.MAX_WAITING + scripted_pipeline.entity.provider.concurrency


def test_a_login_that_must_wait_for_a_declared_rate_limit_is_skipped_and_the_others_load(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "MAX_WAIT_AT_END", timedelta())
    slow_limit = RateLimit(LimitScope.CLIENT, calls=2, per=timedelta(minutes=4), burst=1)
    assert isinstance(scripted_pipeline.entity.source, Feed)
    scripted_pipeline.entity = replace(
        scripted_pipeline.entity, source=replace(scripted_pipeline.entity.source, limits=(slow_limit,))
    )
    scripted_pipeline.enrol("one", "two")
    for token in ("one", "two"):
        scripted_bank.script(token, page(added=[transaction(transaction_id=token)], next_cursor="c"))
    scripted_pipeline.plan("run")
    assert scripted_pipeline.load(scripted_pipeline.fetch("run")).inserted == 1
    ((_, outcome, reason),) = rows(SKIPPED)
    assert outcome == "unreachable"
    assert str(reason).startswith("declared rate limit exhausted; to be asked again after")
    scripted_pipeline.plan("next")
    with pytest.raises(ProviderRetryAfter, match="declared rate limit exhausted") as raised:
        scripted_pipeline.download("next")
    assert client.MAX_WAIT_IN_TASK < raised.value.wait <= timedelta(minutes=4)
