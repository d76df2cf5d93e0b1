"""Send now: what was announced, in one task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from etl.declare.notice import Notice
from etl.steps.occasion import AskedWrongly
from etl.steps.report_notice import report_notice
from etl.steps.send import Channels, send
from etl.stores import notice_runs
from etl.stores.warehouse import Warehouse
from etl.wire.limits import Limiter


def send_now(
    asked: Mapping[str, Any],
    *,
    notices: Iterable[Notice],
    warehouse: Warehouse,
    limiter: Limiter,
    channels: Callable[[Notice], Channels],
) -> dict[str, int]:
    """Send what is left of a run, chunk by chunk, and return what came of it.

    Parameters
    ----------
    asked
        The conf of the Dag's run: `{"run_id": 17}`.
    notices
        All that are declared.
    channels
        Returns the channels of a notice, closed.

    Raises
    ------
    AskedWrongly
        If the conf names no run, one that was not announced, or one of a notice that is not declared.
    """
    run_id = asked.get("run_id")
    if type(run_id) is not int:
        raise AskedWrongly("notify_now", f"run_id in its conf is {run_id!r}")
    run = notice_runs.find(warehouse, run_id)
    notice = next((notice for notice in notices if notice.name == run.notice), None)
    if notice is None:
        raise AskedWrongly("notify_now", f"run {run_id} is one of {run.notice}, which is not declared")
    if not run.announced:
        raise AskedWrongly("notify_now", f"run {run_id} was not announced; the Dag notify_{run.notice} sends it")
    for ordinal in notice_runs.unfinished(warehouse, run_id):
        send(notice, run_id, ordinal, warehouse=warehouse, limiter=limiter, channels=channels(notice))
    return report_notice(notice, run_id, warehouse=warehouse)
