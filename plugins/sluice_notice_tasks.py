"""The tasks of a notice's Dag: each an import and a call.

Tasks exchange ids only: the ordinals of chunks and the id of their run in `notify.runs`. Whom a chunk is for never
leaves the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, TriggerRule, get_current_context, task

import sluice_connections as connections
from etl.declare.notice import Notice
from sluice_channels import channels

if TYPE_CHECKING:
    from etl.notify.run_request import Occasion

RUN = "notice_run"
"""The XCom of `plan` that names the run; what it returns are ordinals, since tasks are mapped over that."""

_LABEL = "{{ chunk | default('chunk ' ~ ti.map_index) }}"


def plan(notice: Notice) -> Any:  # noqa: ANN401 - Airflow does not say what a task call returns
    """Return the task that plans a run, whatever else its conf holds."""

    @task(task_id="plan", priority_weight=_weight(notice, step=0))
    def plan_run(**_params: object) -> list[int]:
        from etl.notify import run_request as step

        with connections.warehouse() as warehouse:
            # A connection that is missing is told of here, where nobody has got anything.
            channels(notice)
            planned = step.plan_occasion(notice, _occasion(), warehouse=warehouse)
        if planned is None:
            return []
        get_current_context()["ti"].xcom_push(RUN, planned.run_id)
        return planned.ordinals

    return plan_run()


def send(notice: Notice, planned: Any) -> Any:  # noqa: ANN401 - likewise
    """Return the task that sends a chunk, mapped over what was planned."""

    @task(task_id="send", priority_weight=_weight(notice, step=1), map_index_template=_LABEL)
    def send_chunk(notice_run: int, ordinal: int) -> None:
        from etl.notify import send as step
        from etl.notify.store import chunks

        with connections.warehouse() as warehouse:
            get_current_context()["chunk"] = str(chunks.find(warehouse, notice_run, ordinal))  # type: ignore[typeddict-unknown-key]
            step.send(
                notice,
                notice_run,
                ordinal,
                warehouse=warehouse,
                limiter=connections.limiter(),
                channels=channels(notice),
            )

    return send_chunk.partial(notice_run=planned[RUN]).expand(ordinal=planned)


def report(notice: Notice, *, outlet: Asset) -> Any:  # noqa: ANN401 - likewise
    """Return the task that sums a run up and tells those who wait for the notice what was sent."""

    @task(
        task_id="report", priority_weight=_weight(notice, step=5), trigger_rule=TriggerRule.ALL_DONE, outlets=[outlet]
    )
    def report_run() -> dict[str, int]:
        from etl.notify import report as step

        # It runs whatever became of `plan`, and so cannot be handed what that may not have left.
        run_id = get_current_context()["ti"].xcom_pull(task_ids="plan", key=RUN)
        with connections.warehouse() as warehouse:
            totals = step.report_notice(notice, run_id, warehouse=warehouse)
        get_current_context()["outlet_events"][outlet].extra = {**totals}
        return totals

    return report_run()


def _weight(notice: Notice, *, step: int) -> int:
    """Return the weight of a step, within those of its queue."""
    return 100 * notice.queue.priority + step


def _occasion() -> Occasion:
    from etl.notify.run_request import Occasion

    run = get_current_context()["dag_run"]
    start, end = run.data_interval_start, run.data_interval_end
    return Occasion(
        trigger=run.run_id,
        kind=str(getattr(run.run_type, "value", run.run_type)),
        at=run.logical_date or run.run_after,
        interval=(start, end) if start and end else None,
        asked=run.conf or {},
    )
