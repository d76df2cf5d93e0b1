"""The class of Sluice's Dags: Airflow's, made to end well where a developer tests it, and to fail alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk import DAG

from sluice_cluster_policy import require_rules

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_is_trial = ContextVar("_is_trial", default=False)


class SluiceDag(DAG):
    """A Dag whose test runs have no deadline, as no manual run has one.

    Airflow takes every Dag of a file whose `with` block has ended, and schedules none of them if one of them breaks a
    rule of the cluster policy. This Dag checks them itself at the end of its block, and is not taken if that fails.
    """

    def __enter__(self) -> Self:
        """Enter the block in which the tasks are defined."""
        self.auto_register = self.auto_register and not _is_trial.get()
        return super().__enter__()

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Check the rules for Dags, and give the Dag to Airflow if it has passed them."""
        has_passed = False
        try:
            if error_type is None:
                require_rules(self)
                has_passed = True
        finally:
            self.auto_register = self.auto_register and has_passed
            super().__exit__(error_type, error, trace)  # type: ignore[no-untyped-call]

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


@contextmanager
def trial() -> Iterator[None]:
    """Build Dags in this block without giving them to Airflow."""
    token = _is_trial.set(True)
    try:
        yield
    finally:
        _is_trial.reset(token)


def _set_run_after(dag_run: DagRun, instant: datetime) -> None:
    """Let a run that has ended be listed where it belongs; the cluster policy had hidden it from the scheduler."""
    from airflow.utils.session import create_session

    dag_run.run_after = instant
    with create_session() as session:
        session.merge(dag_run)
