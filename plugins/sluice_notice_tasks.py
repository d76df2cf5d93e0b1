"""Tasks of a notice's Dag; the body of each is an import and a call.

Tasks exchange ids only: the numbers of senders and the id of their run in `notify.runs`. Recipients never leave the
database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, TriggerRule, get_current_context

import sluice_alerts
import sluice_connections as connections
from etl.declare.notice import Notice
from sluice_channels import build_senders
from sluice_reschedule import task
from sluice_task_results import require_result, warn_if_not_planned

if TYPE_CHECKING:
    from etl.notify.run_request import RunRequest

RUN_ID_KEY = "notice_run"
"""Key of the XCom with the run's id; the return value of `plan` holds the senders, over which `send` is mapped."""

SENDER_RETRIES = 10
"""Retries of a sender: it sends many chunks, and each death of its worker costs one."""


def plan(notice: Notice) -> Any:  # noqa: ANN401 - Airflow does not say what a task call returns
    """Return the task that plans a run; unknown keys of the run's conf are ignored.

    It has slots of its own: those of its queue are held by senders of other runs, which know only of planned runs.
    """
    pool = notice.queue.planning_pool or notice.queue.pool

    @task(task_id="plan", priority_weight=_priority_weight(notice, step=9), pool=pool.name)
    def plan_run(**_params: object) -> list[int]:
        from etl.notify import run_request as step
        from etl.notify.store import runs
        from etl.notify.store.runs import RunState

        with connections.warehouse() as db:
            # Fail on a missing connection now, before anything is sent.
            build_senders(notice)
            planned = step.plan_requested_run(notice, _run_request(), db=db)
            if planned is None:
                return []
            runs.save_dag_run(db, planned.run_id, get_current_context()["dag_run"].run_id)
            is_sending = runs.find(db, planned.run_id).state == RunState.RUNNING.value
        get_current_context()["ti"].xcom_push(RUN_ID_KEY, planned.run_id)
        senders = min(notice.queue.slots, len(planned.ordinals))
        if is_sending:
            connections.turns(notice.queue).enqueue(planned.run_id, senders)
        return list(range(senders))

    return plan_run()


def send(notice: Notice, planned: Any) -> Any:  # noqa: ANN401 - likewise
    """Return the task that sends the chunks of a run, mapped over as many senders as the queue has slots.

    A task per chunk would be hundreds, which a pause, or deferred deliveries, would start again and again.
    """

    @task(
        task_id="send",
        priority_weight=_priority_weight(notice, step=1),
        map_index_template="sender {{ ti.map_index }}",
        retries=SENDER_RETRIES,
    )
    def send_chunks(notice_run: int | None, sender: int | None) -> None:
        from etl.notify import send as step
        from etl.notify.slots.sender import send_run

        run_id, number = (require_result(result, of="plan") for result in (notice_run, sender))
        with connections.warehouse() as db:
            limiter = connections.limiter()

            def send_chunk(ordinal: int, end_turn: Callable[[], None]) -> None:
                step.send(
                    notice, run_id, ordinal, db=db, limiter=limiter, senders=build_senders(notice), end_turn=end_turn
                )

            with sluice_alerts.told_of_holds(get_current_context(), run_id, db):
                send_run(notice, run_id, number, db=db, turns=connections.turns(notice.queue), send_chunk=send_chunk)

    return send_chunks.partial(notice_run=planned[RUN_ID_KEY]).expand(sender=planned)


def report(notice: Notice, *, outlet: Asset) -> Any:  # noqa: ANN401 - likewise
    """Return the task that sums up a run, and publishes the counts in the asset event of its notice."""

    @task(
        task_id="report",
        priority_weight=_priority_weight(notice, step=5),
        trigger_rule=TriggerRule.ALL_DONE,
        outlets=[outlet],
    )
    def report_run() -> dict[str, int]:
        from etl.notify import report as step

        warn_if_not_planned()
        # Pulled instead of passed as an argument, since this task also runs if `plan` failed and pushed nothing.
        run_id = get_current_context()["ti"].xcom_pull(task_ids="plan", key=RUN_ID_KEY)
        with connections.warehouse() as db:
            totals = step.report_run(notice, run_id, db=db)
        get_current_context()["outlet_events"][outlet].extra = {**totals}
        return totals

    return report_run()


def all_sent(notice: Notice) -> Any:  # noqa: ANN401 - likewise
    """Return the task that fails the Dag's run if a chunk failed, or too few of the messages were delivered."""

    @task(task_id="all_sent", priority_weight=_priority_weight(notice, step=5))
    def require_delivered() -> None:
        from etl.notify import report as step

        run_id = get_current_context()["ti"].xcom_pull(task_ids="plan", key=RUN_ID_KEY)
        with connections.warehouse() as db:
            step.require_delivered(run_id, db=db)

    return require_delivered()


def _priority_weight(notice: Notice, *, step: int) -> int:
    """Return the weight of a step, within the range of its queue."""
    return 100 * notice.queue.priority + step


def _run_request() -> RunRequest:
    from etl.notify.run_request import RunRequest

    run = get_current_context()["dag_run"]
    start, end = run.data_interval_start, run.data_interval_end
    return RunRequest(
        trigger=run.run_id,
        run_type=str(getattr(run.run_type, "value", run.run_type)),
        run_at=run.logical_date or run.run_after,
        data_interval=(start, end) if start and end else None,
        conf=run.conf or {},
    )
