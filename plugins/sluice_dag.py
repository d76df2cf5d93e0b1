"""The class of Sluice's Dags: Airflow's, made to end well where a developer tests it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


class SluiceDag(DAG):
    """A Dag whose test runs have no deadline, as no manual run has one."""

    def test(self, *arguments: Any, **options: Any) -> DagRun:  # noqa: ANN401 - as Airflow declares them
        """Run all tasks in this process, as `airflow dags test` does.

        Airflow 3.3 looks up the deadlines of a test run by ids that only the Dag processor assigns, and fails after the
        last task (apache/airflow#73428).
        """
        deadline, self.deadline = self.deadline, None
        started_at = datetime.now(UTC)
        try:
            dag_run: DagRun = super().test(*arguments, **options)
        finally:
            self.deadline = deadline
        _set_run_after(dag_run, started_at)
        return dag_run


def _set_run_after(dag_run: DagRun, instant: datetime) -> None:
    """Let a run that has ended be listed where it belongs; the cluster policy had hidden it from the scheduler."""
    from airflow.utils.session import create_session

    dag_run.run_after = instant
    with create_session() as session:
        session.merge(dag_run)
