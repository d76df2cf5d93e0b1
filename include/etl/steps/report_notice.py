"""Report: what came of a run of a notice, whatever became of its chunks."""

import logging

from etl.declare.notice import Notice
from etl.stores import notice_reports, notice_runs
from etl.stores.warehouse import Warehouse

_TROUBLE = ("failed", "unknown")

log = logging.getLogger(__name__)


def report_notice(notice: Notice, run_id: int | None, *, warehouse: Warehouse) -> dict[str, int]:
    """Log, keep and return what came of a run so far; nothing, if none was planned."""
    if run_id is None:
        log.info("%s: nothing was planned, so there is nothing to report", notice.name)
        return {}
    counts = notice_runs.totals(warehouse, run_id)
    notice_reports.keep(warehouse, run_id, counts)
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
    trouble = {name: counts[name] for name in _TROUBLE if counts[name]}
    if trouble:
        log.warning("%s: run %d: see notify.deliveries where run_id = %d: %s", notice.name, run_id, run_id, trouble)
    return counts
