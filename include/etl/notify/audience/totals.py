"""The totals of a run: every message that its audience asked for has an outcome, or a fault is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.store.runs import NoticeRun

OUTCOMES = ("sent", "failed", "unknown", "suppressed", "expired", "unreachable", "repeated", "deferred")
"""Totals of which each message of a recipient is in exactly one."""
_WITHOUT_ROW = ("unreachable", "repeated")
"""Those of messages that have no row of the run in the ledger."""


class TotalsDiffer(PermanentError):
    """The ledger of a run has more or fewer messages than its audience asked for."""

    def __init__(self, run: NoticeRun, found: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id}: {found}. Compare its messages in notify.deliveries with its "
            "pages in notify.chunks before anything is sent again."
        )


def check_totals(run: NoticeRun, notice: Notice, totals: Mapping[str, int], *, count_rows: Callable[[], int]) -> None:
    """Refuse totals that do not add up, once all chunks are finished; those of before it was counted cannot be checked.

    A page may have more outcomes than recipients: it was interrupted, and before it was walked again somebody left the
    audience whose message was sent. Each outcome must have its row in the ledger then.

    Parameters
    ----------
    count_rows
        Returns the number of deliveries of the run in the ledger, which takes a while.

    Raises
    ------
    TotalsDiffer
        With both numbers.
    """
    if totals["chunks_finished"] < totals["chunks"] or totals["chunks_not_counted"]:
        return
    expected, found = totals["walked"] * len(notice.channels), sum(totals[name] for name in OUTCOMES)
    if found > expected and count_rows() == found - sum(totals[name] for name in _WITHOUT_ROW):
        return
    if expected != found:
        counts = ", ".join(f"{name} {totals[name]:,}" for name in OUTCOMES if totals[name])
        raise TotalsDiffer(
            run,
            f"its {totals['walked']:,} recipients on {len(notice.channels)} channels are {expected:,} messages, and "
            f"{found:,} have an outcome ({counts})",
        )


def describe_changes(totals: Mapping[str, int]) -> str:
    """Return who left or joined the audience between plan and send, in words; empty if nobody did."""
    change = totals["walked"] - totals["recipients"]
    if totals["chunks_not_counted"] or totals["chunks_finished"] < totals["chunks"] or not change:
        return ""
    return f"{abs(change):,} recipients {'joined' if change > 0 else 'left'} the audience after it was planned"
