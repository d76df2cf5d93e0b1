"""Prints, for made-up runs, when each was due: `python run_due.py`, in a stack's environment; nothing is kept."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow import settings
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.types import DagRunType

from sluice_deadlines import RunDue

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DAG = "made_up"
FIRST = datetime(2011, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MADE_AFTER = timedelta(hours=15)


def due(session: Session, day: int, run_type: DagRunType) -> str:
    """Return how long after the end of its interval a run counts as due."""
    start = FIRST + day * DAY
    timed = run_type is not DagRunType.ASSET_TRIGGERED
    run = DagRun(
        dag_id=DAG,
        run_id=f"{run_type.value}__{day}",
        run_type=run_type,
        run_after=start + DAY,
        logical_date=start if timed else None,
        data_interval=(start, start + DAY) if timed else None,
        queued_at=start + DAY + MADE_AFTER,
    )
    session.add(run)
    session.flush()
    found = RunDue()._evaluate_with(session=session, dag_id=DAG, run_id=run.run_id)
    return "never" if found is None else str(found - start - DAY)


def main() -> None:
    """Print when the runs were due, as JSON."""
    settings.configure_orm()  # type: ignore[no-untyped-call]
    with create_session() as session:
        found = {
            "first": due(session, 0, DagRunType.SCHEDULED),
            "next": due(session, 1, DagRunType.SCHEDULED),
            "after a gap": due(session, 5, DagRunType.SCHEDULED),
            "triggered": due(session, 6, DagRunType.ASSET_TRIGGERED),
            "backfill": due(session, 7, DagRunType.BACKFILL_JOB),
            "manual": due(session, 8, DagRunType.MANUAL),
        }
        session.rollback()
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
