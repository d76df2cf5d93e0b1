"""Progress of Dag runs on the console."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dev.demo.airflow_api import AirflowApi, DagRun
from etl.db.connection import connect
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.report import totals

MAX_RUN_SECONDS = 600.0
"""Limit of the wait for the end of runs."""
_POLL_SECONDS = 1.0
_FINAL_STATES = ("success", "failed")


class ProgressDisplay:
    """Shows how many chunks of each run are loaded: as bars on a terminal, otherwise as a line for each change.

    Parameters
    ----------
    airflow
        Session from which the states of runs are read.
    environment
        Environment of the stack.
    console
        Console to print on.
    """

    def __init__(self, airflow: AirflowApi, *, environment: Mapping[str, str], console: Console) -> None:
        self._airflow = airflow
        self._endpoint = Endpoint.from_environment("warehouse", environment)
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("chunks, {task.fields[rows]:,} rows"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, int] = {}

    def wait_until_ended(self, runs: Mapping[str, tuple[Entity, DagRun]]) -> dict[str, DagRun]:
        """Show the progress of runs until all have ended, and return their last states by Dag.

        Parameters
        ----------
        runs
            Dag → its entity and its run.
        """
        deadline = time.monotonic() + MAX_RUN_SECONDS
        current = {dag_id: run for dag_id, (_, run) in runs.items()}
        with connect(self._endpoint) as db, self._bars:
            while any(run.state not in _FINAL_STATES for run in current.values()) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                for dag_id, (entity, run) in runs.items():
                    current[dag_id] = self._airflow.get_run(dag_id, run.run_id)
                    self._show(dag_id, totals(entity, run.run_id, db=db))
        return current

    def _show(self, dag_id: str, counts: Mapping[str, int]) -> None:
        chunks, loaded, rows = counts["chunks"], counts["chunks_loaded"], counts["read"] - counts["rejected"]
        if dag_id not in self._tasks:
            self._tasks[dag_id] = self._bars.add_task(dag_id, total=None, rows=0)
        self._bars.update(self._tasks[dag_id], total=chunks or None, completed=loaded, rows=rows)
        if self._bars.disable and chunks and loaded > self._printed.get(dag_id, -1):
            self._printed[dag_id] = loaded
            self._console.print(f"{dag_id}: {loaded} of {chunks} chunks, {rows:,} rows")
