"""Report: the final totals of a run, stored and logged even if some of its chunks failed, and whether it has failed."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.audience.totals import check_totals, describe_changes
from etl.notify.bounces.settle import settle_bounces
from etl.notify.store import runs
from etl.notify.store.runs import NoticeRun, Refusal, RunState

_TOLD_REFUSALS = 2

log = logging.getLogger(__name__)


class NoticeRunFailed(PermanentError):
    """So many messages of a run were not delivered that its task fails, too."""

    def __init__(self, run: NoticeRun, refusals: Sequence[Refusal]) -> None:
        lines = [
            f"{run.notice} {run.period}: run {run.run_id} has failed: {run.reason}.",
            *map(str, refusals[:_TOLD_REFUSALS]),
            f"What was sent stays sent. Mend the cause, then `sluice notify retry {run.run_id}` tries the others.",
        ]
        super().__init__("\n".join(lines))


def report_run(notice: Notice, run_id: int | None, *, db: Connection) -> dict[str, int]:
    """Store, log and return the totals of a run; return an empty dict if none was planned.

    Raises
    ------
    TotalsDiffer
        If they do not add up; they are stored all the same.
    """
    if run_id is None:
        log.info("%s: no run was planned, so there is nothing to report", notice.name)
        return {}
    settle_bounces(db=db, as_of=datetime.now(UTC))
    totals = runs.read_totals(db, run_id)
    has_failed = runs.find(db, run_id).state == RunState.FAILED.value
    runs.save_report(db, run_id, totals, runs.list_refusals(db, run_id) if has_failed else ())
    log.info("%s: run %d: %s", notice.name, run_id, totals)
    if totals["chunks_finished"] < totals["chunks"]:
        log.error(
            "%s: run %d: %d of %d chunks are not finished; clear the tasks that failed, and they continue where they "
            "stopped",
            notice.name,
            run_id,
            totals["chunks"] - totals["chunks_finished"],
            totals["chunks"],
        )
    if changes := describe_changes(totals):
        log.info("%s: run %d: %s", notice.name, run_id, changes)
    undecided = totals["unknown"] - totals["dropped"]
    if totals["failed"] or undecided:
        log.warning(
            "%s: run %d: %d deliveries failed, and %d may or may not have arrived: see `sluice notify status %d`",
            notice.name,
            run_id,
            totals["failed"],
            undecided,
            run_id,
        )
    check_totals(runs.find(db, run_id), notice, totals, count_rows=lambda: runs.count_deliveries(db, run_id))
    return totals


def require_delivered(run_id: int | None, *, db: Connection) -> None:
    """Fail if a run has failed; a Dag run that sends none has not.

    Raises
    ------
    NoticeRunFailed
        With who refused the messages, in what words and how often.
    """
    if run_id is None:
        return
    run = runs.find(db, run_id)
    if run.state == RunState.FAILED.value:
        raise NoticeRunFailed(run, runs.list_refusals(db, run_id))
