"""The Dag that sends announcements to a few users at once, and the function by which tasks of other Dags trigger it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, get_current_context

import sluice_connections as connections
from sluice_channels import build_senders
from sluice_cluster_policy import NO_DEADLINE_TAG
from sluice_dag import SluiceDag
from sluice_entity_dags import START_DATE, build_default_args
from sluice_reschedule import task

if TYPE_CHECKING:
    from etl.declare.notice import Notice
    from etl.notify.plan import PlannedRun

_DOC = """Sends one announced run of a notice at once. Its conf is `{"run_id": 17}`; recipients and values stay in the
warehouse. `sluice notify send` and `announce_now` (`include/etl/notify/announce.py`) plan such a run and trigger
this Dag. If it is triggered twice, nobody gets the notice twice.
"""


def build_announce_dag() -> DAG:
    """Return the Dag. It has no schedule, so it is created unpaused."""
    from etl.catalog.queues import URGENT_NOTIFICATIONS

    settings = build_default_args(URGENT_NOTIFICATIONS, timedelta(minutes=10))
    with SluiceDag(
        dag_id="notify_now",
        description="Sends one announcement to a few users at once.",
        schedule=None,
        start_date=START_DATE,
        catchup=False,
        max_active_runs=64,
        is_paused_upon_creation=False,
        tags=["notify", NO_DEADLINE_TAG],
        doc_md=_DOC,
        default_args=settings,
    ) as dag:
        task(task_id="send", priority_weight=100 * URGENT_NOTIFICATIONS.priority + 99)(_send)()
    return dag


def _send(**_params: object) -> dict[str, int]:
    from etl.catalog.notices import NOTICES
    from etl.notify import announce as step

    with connections.warehouse() as db:
        return step.send_announced(
            get_current_context()["dag_run"].conf or {},
            notices=NOTICES,
            db=db,
            limiter=connections.limiter(),
            build_senders=build_senders,
        )


def announce_now(
    notice: Notice, users: Collection[int], key: str, values: Mapping[str, object] | None = None
) -> PlannedRun:
    """Send one notice to users at once, from a task of another Dag; uses the Airflow connection `airflow_api`."""
    from etl.notify import announce as step

    with connections.warehouse() as db:
        server = connections.endpoint("airflow_api")
        return step.announce_now(notice, users, key, values, db=db, server=server)
