"""Report: what came of a run of a notice, whatever became of its chunks."""

import logging

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.store import runs

log = logging.getLogger(__name__)


def report_run(notice: Notice, run_id: int | None, *, db: Connection) -> dict[str, int]:
    """Log, keep and return what came of a run so far; nothing, if none was planned."""
    if run_id is None:
        log.info("%s: nothing was planned, so there is nothing to report", notice.name)
        return {}
    counts = runs.read_totals(db, run_id)
    runs.save_report(db, run_id, counts)
    log.info("%s: run %d: %s", notice.name, run_id, counts)
    if counts["chunks_finished"] < counts["chunks"]:
        log.error(
            "%s: run %d: %d of %d chunks were not sent to their end; clear the tasks that failed, and they go on where "
            "they stopped",
            notice.name,
            run_id,
            counts["chunks"] - counts["chunks_finished"],
            counts["chunks"],
        )
    undecided = counts["unknown"] - counts["dropped"]
    if counts["failed"] or undecided:
        log.warning(
            "%s: run %d: %d failed, and of %d nobody knows whether they arrived: see `python -m etl notify status %d`",
            notice.name,
            run_id,
            counts["failed"],
            undecided,
            run_id,
        )
    return counts
