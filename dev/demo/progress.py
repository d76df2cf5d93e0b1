"""Shows a run while it is under way."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dev.demo import results
from dev.demo.airflow_api import AirflowApi, DagRun
from dev.stack.stack import Stack
from etl.declare.entity import Entity
from etl.settings import Endpoint
from etl.stores import warehouse

LONGEST_RUN = 600.0
"""Seconds after which a run is no longer watched."""
_POLL = 1.0
_ENDED = ("success", "failed")


def watch(airflow: AirflowApi, dag_id: str, run: DagRun, entity: Entity, *, stack: Stack, console: Console) -> DagRun:
    """Show how many chunks are loaded until the run ends, and return it.

    On a terminal it is a bar; elsewhere, a line whenever a chunk is loaded.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("chunks, {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    deadline = time.monotonic() + LONGEST_RUN
    loaded = -1
    with warehouse.connect(Endpoint.from_environment("warehouse", stack.environment)) as connection, bar:
        shown = bar.add_task(dag_id, total=None, rows=0)
        while run.state not in _ENDED and time.monotonic() < deadline:
            time.sleep(_POLL)
            run = airflow.run(dag_id, run.run_id)
            counts = results.totals(connection, entity, run.run_id)
            chunks, rows = counts["chunks"], counts["read"] - counts["rejected"]
            bar.update(shown, total=chunks or None, completed=counts["chunks_loaded"], rows=rows)
            if bar.disable and chunks and counts["chunks_loaded"] > loaded:
                loaded = counts["chunks_loaded"]
                console.print(f"{dag_id}: {loaded} of {chunks} chunks, {rows:,} rows")
    return run
