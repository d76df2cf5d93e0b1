"""`python run_due.py`, in a stack's environment: print when made-up runs are due; their rows are rolled back."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow import settings
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType

from sluice_deadline import RunDue

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DAG = "made_up"
FIRST = datetime(2011, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CREATED_AFTER = timedelta(hours=15)


def due(session: Session, day: int, run_type: DagRunType) -> str:
    """Return the time from the end of a run's data interval until the run is due."""
    start = FIRST + day * DAY
    has_interval = run_type is not DagRunType.ASSET_TRIGGERED
    run = DagRun(
        dag_id=DAG,
        run_id=f"{run_type.value}__{day}",
        run_type=run_type,
        run_after=start + DAY,
        logical_date=start if has_interval else None,
        data_interval=(start, start + DAY) if has_interval else None,
        queued_at=start + DAY + CREATED_AFTER,
    )
    session.add(run)
    session.flush()
    due_at = RunDue()._evaluate_with(session=session, dag_id=DAG, run_id=run.run_id)
    return "never" if due_at is None else str(due_at - start - DAY)


def main() -> None:
    """Print when each run is due, as JSON."""
    settings.configure_orm()  # type: ignore[no-untyped-call]
    with create_session() as session:
        delays = {
            "first": due(session, 0, DagRunType.SCHEDULED),
            "next": due(session, 1, DagRunType.SCHEDULED),
            "after a gap": due(session, 5, DagRunType.SCHEDULED),
            "triggered": due(session, 6, DagRunType.ASSET_TRIGGERED),
            "backfill": due(session, 7, DagRunType.BACKFILL_JOB),
            "manual": due(session, 8, DagRunType.MANUAL),
        }
        session.rollback()
    sys.stdout.write(f"{json.dumps(delays)}\n")


if __name__ == "__main__":
    main()
