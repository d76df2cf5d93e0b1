"""Repeated attempts of a download: how the end of one affects the next."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import pytest

from etl.errors import ProviderUnavailable
from etl.sync.drain.chunk import ProviderRetryAfter
from etl.sync.store.landing import AccountPages
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import Answer, ScriptedBank, refusal
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
CHUNK = "select attempts, page_size, outcome from etl.chunks"
LAST_PAGE = page(added=[transaction(transaction_id="t")], next_cursor="c")


class OutOfTime(BaseException):
    """Ends a task that takes too long, as Airflow's timeout does."""


def busy(seconds: int) -> Answer:
    return refusal("RATE_LIMIT_EXCEEDED", "TRANSACTIONS_LIMIT", 429, Retry_After=str(seconds))


def fail(error: BaseException) -> Callable[..., None]:
    def add(*_: object) -> None:
        raise error

    return add


def requested_page_sizes(scripted_bank: ScriptedBank) -> list[object]:
    return [request["count"] for request in scripted_bank.requests["one"]]


@pytest.fixture
def planned(scripted_pipeline: Pipeline, scripted_bank: ScriptedBank) -> Pipeline:
    scripted_pipeline.enrol("one")
    scripted_bank.script("one", LAST_PAGE)
    scripted_pipeline.plan("run")
    return scripted_pipeline


def test_the_page_size_is_halved_after_an_attempt_that_ran_out_of_memory(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AccountPages, "add", fail(MemoryError()))
        for _ in range(2):
            with pytest.raises(MemoryError):
                planned.download("run")
    planned.download("run")
    assert requested_page_sizes(scripted_bank) == [500, 250, 125]
    assert rows(CHUNK) == [(3, 125, {"drained": 1})]


def test_the_page_size_is_halved_after_a_killed_attempt_but_never_below_one(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    rows("update etl.chunks set attempts = 1, page_size = 1 returning 1")
    planned.download("run")
    assert requested_page_sizes(scripted_bank) == [1]


@pytest.mark.parametrize("error", [OSError("disk full"), OutOfTime()], ids=["error", "timeout"])
def test_the_page_size_is_kept_after_an_attempt_that_failed_otherwise(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AccountPages, "add", fail(error))
        with pytest.raises(type(error)):
            planned.download("run")
    assert rows(CHUNK) == [(1, 500, {})]
    planned.download("run")
    assert requested_page_sizes(scripted_bank) == [500, 500]


def test_an_attempt_that_reaches_no_account_records_it(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_bank.script("one", Answer(b"", 503))
    with pytest.raises(ProviderUnavailable):
        planned.download("run")
    assert rows(CHUNK) == [(1, 500, {"unreachable": 1})]


def test_a_new_plan_resets_the_page_size(planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows) -> None:
    rows("update etl.chunks set attempts = 1, page_size = 7 returning 1")
    planned.plan("run")
    planned.download("run")
    assert requested_page_sizes(scripted_bank) == [500]


def test_a_long_retry_after_reschedules_the_download_which_then_starts_over(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    scripted_bank.script("one", busy(75), LAST_PAGE)
    with pytest.raises(ProviderRetryAfter, match=r"plaid: TRANSACTIONS_LIMIT, .* after 0:01:15;") as raised:
        planned.download("run")
    assert raised.value.wait == timedelta(seconds=75)
    assert rows(CHUNK) == [(1, 500, {})]
    assert planned.load(planned.fetch("run")).inserted == 1
    assert requested_page_sizes(scripted_bank) == [500, 500]


def test_a_wait_inside_a_task_ends_at_the_timeout_of_the_task(
    planned: Pipeline, scripted_bank: ScriptedBank, rows: Rows
) -> None:
    def time_out(_: int, __: FrameType | None) -> None:
        raise OutOfTime

    scripted_bank.script("one", busy(30))
    previous_handler = signal.signal(signal.SIGALRM, time_out)
    started = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(OutOfTime):
            planned.download("run")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)
    assert time.monotonic() - started < 5
    assert rows(CHUNK) == [(1, 500, {})]
