"""What must hold of a run at any time at which nothing is sent."""

from __future__ import annotations

from collections import Counter

from psycopg.rows import tuple_row

from etl.notify.store import retries, runs
from tests.integration.notify.notice_harness import NoticeHarness

_STATES = ("sent", "failed", "suppressed", "expired", "unknown", "reopened")
_WITHOUT_ROW = ("unreachable", "repeated")


def check_counters(post: NoticeHarness, run_id: int) -> dict[str, int]:
    """Check that the counters of a run are those of the ledger, and return what the run has without what is zero."""
    totals = runs.read_totals(post.db, run_id)
    with post.db.cursor(row_factory=tuple_row) as cursor:
        found = cursor.execute(
            "select state::text, coalesce(error_class, '') from notify.deliveries where run_id = %s", (run_id,)
        ).fetchall()
    states = Counter(state for state, _ in found)
    assert {name: totals[name] for name in _STATES} == {name: states[name] for name in _STATES}
    assert totals["dropped"] == found.count(("unknown", "dropped"))
    assert retries.count_failures(post.db, run_id) == Counter(why for state, why in found if state == "failed")
    if totals["chunks"] == totals["chunks_finished"]:
        assert sum(totals[name] for name in (*_STATES, *_WITHOUT_ROW)) == totals["recipients"]
        assert totals["reopened"] == 0
    return {name: totals[name] for name in (*_STATES, *_WITHOUT_ROW, "dropped") if totals[name]}
