"""Shows runs while they are under way."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dev.demo.airflow_api import AirflowApi, DagRun
from etl.db import connection as warehouse
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.sync.report import totals

LONGEST_RUN = 600.0
"""Seconds after which runs are no longer watched."""
_POLL = 1.0
_ENDED = ("success", "failed")


class Watch:
    """Shows how many chunks of each entity's run are loaded: bars on a terminal, elsewhere a line for each change.

    Parameters
    ----------
    airflow
        Knows the runs.
    environment
        Of the stack.
    console
        Where to show it.
    """

    def __init__(self, airflow: AirflowApi, *, environment: Mapping[str, str], console: Console) -> None:
        self._airflow = airflow
        self._warehouse = Endpoint.from_environment("warehouse", environment)
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
        self._shown: dict[str, TaskID] = {}
        self._said: dict[str, int] = {}

    def until_ended(self, runs: Mapping[str, tuple[Entity, DagRun]]) -> dict[str, DagRun]:
        """Show runs by Dag until all have ended, and return them as they are then."""
        deadline = time.monotonic() + LONGEST_RUN
        now = {dag_id: run for dag_id, (_, run) in runs.items()}
        with warehouse.connect(self._warehouse) as connection, self._bars:
            while any(run.state not in _ENDED for run in now.values()) and time.monotonic() < deadline:
                time.sleep(_POLL)
                for dag_id, (entity, run) in runs.items():
                    now[dag_id] = self._airflow.run(dag_id, run.run_id)
                    self._show(dag_id, totals(entity, run.run_id, warehouse=connection))
        return now

    def _show(self, dag_id: str, counts: Mapping[str, int]) -> None:
        chunks, loaded, rows = counts["chunks"], counts["chunks_loaded"], counts["read"] - counts["rejected"]
        if dag_id not in self._shown:
            self._shown[dag_id] = self._bars.add_task(dag_id, total=None, rows=0)
        self._bars.update(self._shown[dag_id], total=chunks or None, completed=loaded, rows=rows)
        if self._bars.disable and chunks and loaded > self._said.get(dag_id, -1):
            self._said[dag_id] = loaded
            self._console.print(f"{dag_id}: {loaded} of {chunks} chunks, {rows:,} rows")
