"""From the declaration of a notice to its Dag."""

from __future__ import annotations

from airflow.sdk import DAG, Asset

import sluice_notice_tasks as tasks
from etl.declare.notice import Notice
from sluice_deadlines import deadline_arguments
from sluice_entity_dags import START_DATE, airflow_schedule, build_default_args

_DOC = """{summary}

`plan` freezes the run of a period and cuts its audience into chunks; nobody gets the notice twice for one period.
`send` walks a chunk, and writes each message into `notify.deliveries` before it is handed over: to clear a failed task
is safe at any time, and it goes on where it stopped. `report` sums up what was sent, whatever became of the chunks;
`all_sent` fails the run if one of them failed.

The conf of a run may hold `{{"period": "2026-10"}}`, or `{{"run_id": 17}}` to go on with what is left of a run, or
`{{"parameters": {{…}}}}` for `{sql}`. A backfill sends nothing, unless its conf holds `{{"send": "{name}"}}`.
"""


def notice_dag_id(notice: Notice) -> str:
    """Return the id of the Dag that sends a notice."""
    return f"notify_{notice.name}"


def build_notice_dag(notice: Notice) -> DAG:
    """Return the Dag that sends a notice.

    It plans the run's chunks and sends each. A chunk that fails does not stop its siblings: `report` counts what was
    sent; `all_sent` makes the run fail if any chunk did.
    """
    from airflow.providers.standard.operators.empty import EmptyOperator

    promised = deadline_arguments(notice.deadline)
    sql = f"include/sql/notices/{notice.name}.sql"
    with DAG(
        dag_id=notice_dag_id(notice),
        description=notice.summary,
        schedule=airflow_schedule(notice.schedule) if notice.schedule else None,
        start_date=START_DATE,
        catchup=False,
        max_active_runs=1,
        tags=["notify", *(medium.name for medium in notice.channels), *promised.pop("tags", ())],
        doc_md=_DOC.format(summary=notice.summary, name=notice.name, sql=sql),
        default_args=build_default_args(notice.queue, notice.timeout),
        **promised,
    ) as dag:
        planned = tasks.plan(notice)
        tasks.send(notice, planned) >> [
            tasks.report(notice, outlet=asset(notice.name)),
            EmptyOperator(task_id="all_sent"),
        ]
    return dag


def asset(notice: str) -> Asset:
    """Return the asset that is updated whenever a run of a notice was summed up; no entity has its name."""
    return Asset(name=f"notify_{notice}", uri=f"sluice://notify/{notice}")
