"""Attempts of a download: what the next one makes of the end of the one before."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import FrameType

import pytest

from etl.declare.provider import LimitScope, RateLimit
from etl.declare.source import Feed
from etl.errors import ProviderUnavailable
from etl.sync import download
from etl.sync.download import ProviderRetryAfter
from etl.sync.store.landing import AccountPages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
CHUNK = "select attempts, page_size, outcome from etl.chunks"
DONE = page(added=[transaction(transaction_id="t")], next_cursor="c")


class OutOfTime(BaseException):
    """What ends a task that takes too long, as Airflow's own does."""


def busy(seconds: int) -> Answer:
    return refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=str(seconds))


def fail(error: BaseException) -> Callable[..., None]:
    def add(*_: object) -> None:
        raise error

    return add


def counts_asked(scripted: ScriptedBank) -> list[object]:
    return [request["count"] for request in scripted.requests["one"]]


@pytest.fixture
def planned(moody: Pipeline, scripted: ScriptedBank) -> Pipeline:
    moody.enrol("one")
    scripted.script("one", DONE)
    moody.plan("run")
    return moody


def test_an_attempt_that_ran_out_of_memory_is_followed_by_pages_of_half_the_size(
    planned: Pipeline, scripted: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AccountPages, "add", fail(MemoryError()))
        for _ in range(2):
            with pytest.raises(MemoryError):
                planned.download("run")
    planned.download("run")
    assert counts_asked(scripted) == [500, 250, 125]
    assert rows(CHUNK) == [(3, 125, {"drained": 1})]


def test_a_killed_attempt_is_followed_by_pages_of_half_the_size_but_never_of_none(
    planned: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    rows("update etl.chunks set attempts = 1, page_size = 1 returning 1")
    planned.download("run")
    assert counts_asked(scripted) == [1]


@pytest.mark.parametrize("error", [OSError("disk full"), OutOfTime()], ids=["error", "timeout"])
def test_an_attempt_that_failed_otherwise_is_followed_by_pages_of_the_same_size(
    planned: Pipeline, scripted: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AccountPages, "add", fail(error))
        with pytest.raises(type(error)):
            planned.download("run")
    assert rows(CHUNK) == [(1, 500, {})]
    planned.download("run")
    assert counts_asked(scripted) == [500, 500]


def test_an_attempt_that_reached_nothing_says_so(planned: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    scripted.script("one", Answer(b"", 503))
    with pytest.raises(ProviderUnavailable):
        planned.download("run")
    assert rows(CHUNK) == [(1, 500, {"unreachable": 1})]


def test_planning_again_forgets_what_was_killed(planned: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    rows("update etl.chunks set attempts = 1, page_size = 7 returning 1")
    planned.plan("run")
    planned.download("run")
    assert counts_asked(scripted) == [500]


def test_a_bank_that_asks_for_a_long_wait_is_left_alone_and_asked_again_from_the_start(
    planned: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    scripted.script("one", busy(75), DONE)
    with pytest.raises(ProviderRetryAfter, match=r"plaid answers TRANSACTIONS_LIMIT, .* after 0:01:15;") as told:
        planned.download("run")
    assert told.value.wait == timedelta(seconds=75)
    assert rows(CHUNK) == [(1, 500, {})]
    assert planned.load(planned.fetch("run")).inserted == 1
    assert counts_asked(scripted) == [500, 500]


def test_a_bank_that_always_asks_for_a_long_wait_has_its_account_left_out_in_the_end(
    moody: Pipeline, scripted: ScriptedBank, rows: Rows
) -> None:
    account, _ = moody.enrol("slow", "quick")
    scripted.script("slow", busy(75))
    scripted.script("quick", DONE)
    moody.plan("run")
    for _ in range(download.MAX_RESCHEDULED_ATTEMPTS):
        with pytest.raises(ProviderRetryAfter):
            moody.download("run")
    assert moody.load(moody.fetch("run")).inserted == 1
    assert rows("select provider_account_id, reason from etl.left_out") == [(account, "TRANSACTIONS_LIMIT")]


def test_a_declared_limit_with_a_long_wait_gives_way_too(moody: Pipeline, scripted: ScriptedBank) -> None:
    rarely = RateLimit(LimitScope.CLIENT, calls=2, per=timedelta(minutes=2), burst=1)
    assert isinstance(moody.entity.source, Feed)
    moody.entity = replace(moody.entity, source=replace(moody.entity.source, limits=(rarely,)))
    moody.enrol("one", "two")
    scripted.script("one", DONE)
    scripted.script("two", DONE)
    moody.plan("run")
    with pytest.raises(ProviderRetryAfter, match="a declared limit that is used up") as told:
        moody.download("run")
    assert timedelta(minutes=1) < told.value.wait <= timedelta(minutes=2)


def test_a_wait_inside_a_task_ends_with_its_time(planned: Pipeline, scripted: ScriptedBank, rows: Rows) -> None:
    def end(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    scripted.script("one", busy(30))
    before = signal.signal(signal.SIGALRM, end)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(OutOfTime):
            planned.download("run")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 5
    assert rows(CHUNK) == [(1, 500, {})]
