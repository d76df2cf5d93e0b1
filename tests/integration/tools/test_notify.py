"""`python -m etl notify`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.stores.warehouse import Warehouse
from etl.wire.limits import Limiter
from tests.integration.notices.post import Post
from tests.integration.tools.conftest import Command

Rows = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def run_id(warehouse: Warehouse, limiter: Limiter) -> int:
    """Return a run that is planned, and of which one chunk of two was sent."""
    post = Post(warehouse, limiter)
    post.enrol(12)
    planned = post.plan()
    post.send(planned.run_id, [0])
    return planned.run_id


def test_status_shows_what_came_of_a_run(etl: Command, run_id: int) -> None:
    shown = etl("notify", "status", str(run_id)).stdout
    assert shown.startswith("monthly_report 2026-10: running, at most 1000 messages a second\n    chunks: 2\n")
    assert "    recipients: 12\n    sent: 6\n" in shown


def test_a_run_is_paused_resumed_given_another_pace_and_cancelled(etl: Command, run_id: int, rows: Rows) -> None:
    for words, found in (
        (["pause"], ("paused", 1_000)),
        (["resume"], ("running", 1_000)),
        (["pace", "2.5/s"], ("running", 2.5)),
        (["cancel"], ("cancelled", 2.5)),
    ):
        done = etl("notify", words[0], str(run_id), *words[1:])
        assert done.returncode == 0, done.stderr
        assert rows("select state, pace from notify.runs") == [found]


def test_a_run_that_has_ended_stays_as_it_is(etl: Command, run_id: int) -> None:
    etl("notify", "cancel", str(run_id))
    assert "is cancelled already, so nothing was changed" in " ".join(
        etl("notify", "resume", str(run_id)).stderr.split()
    )


def test_a_run_that_is_not_there_and_a_pace_that_is_none_are_refused(etl: Command, run_id: int) -> None:
    assert "there is no run 99 in notify.runs" in etl("notify", "status", "99").stderr
    assert "is no pace; write messages a second" in " ".join(etl("notify", "pace", str(run_id), "fast").stderr.split())
