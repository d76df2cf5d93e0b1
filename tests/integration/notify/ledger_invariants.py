"""Invariants of a run that hold whenever nothing is being sent."""

from __future__ import annotations

from collections import Counter

from psycopg.rows import tuple_row

from etl.db.connection import Connection
from etl.notify.store import deferrals, failed_deliveries, runs
from tests.integration.notify.notice_harness import NoticeHarness

_STATES = ("sent", "failed", "suppressed", "expired", "unknown", "deferred")
_WITHOUT_ROW = ("unreachable", "repeated")


def check_counters(post: NoticeHarness, run_id: int) -> dict[str, int]:
    """Assert that the counters of a run agree with the ledger, and return those that are not zero."""
    return check_ledger(post.db, run_id)


def check_ledger(db: Connection, run_id: int) -> dict[str, int]:
    """Do the same over a connection."""
    totals = runs.read_totals(db, run_id)
    with db.cursor(row_factory=tuple_row) as cursor:
        states_with_errors = cursor.execute(
            "select state::text, coalesce(error_class, '') from notify.deliveries where run_id = %s", (run_id,)
        ).fetchall()
    states = Counter(state for state, _ in states_with_errors)
    assert {name: totals[name] for name in _STATES} == {name: states[name] for name in _STATES}
    assert totals["dropped"] == states_with_errors.count(("unknown", "dropped"))
    deferred = Counter(deferrals.count(db, run_id))
    assert deferred.total() == states["deferred"]
    assert failed_deliveries.count_failures(db, run_id) == Counter(
        error_class for state, error_class in states_with_errors if state == "failed"
    )
    if totals["chunks"] == totals["chunks_finished"]:
        assert sum(totals[name] for name in (*_STATES, *_WITHOUT_ROW)) == totals["recipients"]
        assert totals["deferred"] == 0
    return {name: totals[name] for name in (*_STATES, *_WITHOUT_ROW, "dropped") if totals[name]}
