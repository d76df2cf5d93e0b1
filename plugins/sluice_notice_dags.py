"""Builds the Dag of a declared notice."""

from __future__ import annotations

from airflow.sdk import DAG, Asset

import sluice_alerts
import sluice_notice_tasks as tasks
from etl import catalog_folder
from etl.declare.fault import project_path
from etl.declare.notice import Notice
from sluice_dag import SluiceDag
from sluice_deadline import deadline_arguments
from sluice_entity_dags import START_DATE, airflow_schedule, build_default_args

_DOC = """{summary}

`plan` fixes the run of a period and divides its audience into chunks; nobody gets the notice twice for one period.
`send` sends the chunks, as several senders that share the slots of the queue with those of other runs, and records
each message in `notify.deliveries` before it is sent. A failed task can be cleared safely at any time, and continues
where it stopped. `report` sums up what was sent, also if chunks failed; `all_sent` fails the run if a chunk failed, or
too few messages were delivered.

The conf of a run may hold `{{"period": "2026-10"}}`, `{{"run_id": 17}}` to continue an unfinished run, or
`{{"parameters": {{…}}}}` for `{sql}`. A backfill sends nothing, unless its conf holds `{{"send": "{name}"}}`.
"""

MAX_ACTIVE_RUNS = 16
"""A run may have deliveries that are deferred for a day; the next, which may be urgent, does not wait for them."""


def notice_dag_id(notice: Notice) -> str:
    """Return the id of the Dag that sends a notice."""
    return f"notify_{notice.name}"


def build_notice_dag(notice: Notice) -> DAG:
    """Return the Dag that sends a notice.

    It plans the run's chunks, waits for approval if the notice declares that, and sends them. A chunk that fails does
    not stop its siblings: `report` counts what was sent; `all_sent` fails the run if a chunk failed, or too few
    messages were delivered.
    """
    # A run that fails is told of also if the notice has no deadline.
    deadline = {"on_failure_callback": sluice_alerts.on_failure, **deadline_arguments(notice.deadline)}
    sql = project_path(catalog_folder.find().sql("notices", notice.name))
    with SluiceDag(
        dag_id=notice_dag_id(notice),
        description=notice.summary,
        schedule=airflow_schedule(notice.schedule) if notice.schedule else None,
        start_date=START_DATE,
        catchup=False,
        max_active_runs=MAX_ACTIVE_RUNS,
        tags=["notify", *(channel.name for channel in notice.channels), *deadline.pop("tags", ())],
        doc_md=_DOC.format(summary=notice.summary, name=notice.name, sql=sql),
        default_args=build_default_args(notice.queue, notice.timeout),
        **deadline,
    ) as dag:
        planned = tasks.plan(notice)
        sent, all_sent = tasks.send(notice, planned), tasks.all_sent(notice)
        if notice.approval_above is not None:
            from sluice_notice_approval import NoticeApproval

            planned >> NoticeApproval(task_id="approve", notice=notice) >> sent
        # After the report, which stores what the mail about a failed run says.
        sent >> tasks.report(notice, outlet=asset(notice.name)) >> all_sent
        sent >> all_sent
    return dag


def asset(notice: str) -> Asset:
    """Return the asset that is updated at the end of each run of a notice; its prefix keeps it apart from entities."""
    return Asset(name=f"notify_{notice}", uri=f"sluice://notify/{notice}")
