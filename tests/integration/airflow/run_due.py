"""Prints, for made-up runs, when each was due: `python run_due.py`, in a stack's environment; nothing is kept."""

import json
from datetime import UTC, datetime, timedelta

from airflow import settings
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType

from sluice_deadline import RunDue

DAG = "etl_transactions"
DAY = timedelta(days=1)
MADE = timedelta(hours=15)


def due_after(start: datetime, run_type: DagRunType, *, interval: bool = True) -> str:
    """Return how long after the end of its interval a run counts as due."""
    with create_session() as session:
        run = DagRun(
            dag_id=DAG,
            run_id=f"{run_type.value}__{start.isoformat()}__{interval}",
            run_type=run_type,
            run_after=start + DAY,
            logical_date=start if interval else None,
            data_interval=(start, start + DAY) if interval else None,
            queued_at=start + DAY + MADE,
        )
        session.add(run)
        session.flush()
        due = RunDue()._evaluate_with(session=session, dag_id=DAG, run_id=run.run_id)
        if due is None:
            session.rollback()
            return "never"
        if run_type is not DagRunType.SCHEDULED or start.day > 1:
            session.rollback()
        return str(due - start - DAY)


if __name__ == "__main__":
    settings.configure_orm()
    first = datetime(2011, 5, 1, tzinfo=UTC)
    try:
        print(
            json.dumps(
                {
                    "first": due_after(first, DagRunType.SCHEDULED),
                    "next": due_after(first + DAY, DagRunType.SCHEDULED),
                    "after a gap": due_after(first + 5 * DAY, DagRunType.SCHEDULED),
                    "triggered": due_after(first + DAY, DagRunType.ASSET_TRIGGERED, interval=False),
                    "backfill": due_after(first + DAY, DagRunType.BACKFILL_JOB),
                    "manual": due_after(first + DAY, DagRunType.MANUAL),
                }
            )
        )
    finally:
        with create_session() as session:
            session.query(DagRun).filter(DagRun.dag_id == DAG, DagRun.logical_date == first).delete()
