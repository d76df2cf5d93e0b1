"""The steps of the demo on a running stack: enrol users, run the Dags, show the results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console

from dev.demo import results
from dev.demo.airflow_api import AirflowApi
from dev.demo.enrol import enrol
from dev.demo.syncs import EntityRuns, sync_all, undeclared_entities
from dev.stack.airflow_environment import ADMIN
from etl.db.connection import connect_warehouse
from etl.sync.report import totals

_SUMMED_COUNTS = ("inserted", "updated", "rejected", "chunks")


@dataclass(frozen=True)
class DemoTarget:
    """The stack that the demo uses.

    Parameters
    ----------
    api_url
        URL of Airflow's API server for this process.
    ui_url
        URL of the same server for people.
    password
        Password of the user `admin`.
    environment
        Environment with the connections of the tasks.
    next_steps
        Hint for what to do next, printed at the end.
    """

    api_url: str
    ui_url: str
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    next_steps: str


def run_demo(target: DemoTarget, *, users: int, started: float, console: Console) -> bool:
    """Sync the users' logins through Airflow, and return whether all runs succeeded.

    Nothing is synced if the catalogue lacks an entity that the results show.

    Parameters
    ----------
    target
        The stack.
    users
        Number of users to have enrolled.
    started
        Start of the demo by the monotonic clock, in seconds.
    console
        Console to print on.
    """
    if undeclared := undeclared_entities():
        names = ", ".join(undeclared)
        console.print(
            f"Airflow runs, and nothing is synced: the demo shows {names}, which the catalogue does not declare."
        )
        return True
    enrolled = enrol(users, environment=target.environment)
    console.print(f"Enrolled {enrolled} new users, {users} in total; each has one login at the sandbox bank.")
    with AirflowApi(target.api_url, user=ADMIN, password=target.password) as airflow:
        runs = sync_all(airflow, environment=target.environment, console=console)
        failed = {dag_id: run for dag_id, (_, run) in runs.items() if run.state != "success"}
        for dag_id, run in failed.items():
            tasks = ", ".join(airflow.failed_tasks(dag_id, run.run_id)) or "none yet"
            console.print(f"{dag_id}: run {run.run_id} is {run.state}; failed tasks: {tasks}. See `make logs`.")
    _show_results(target, runs, seconds=time.monotonic() - started, console=console)
    return not failed


def _show_results(target: DemoTarget, runs: EntityRuns, *, seconds: float, console: Console) -> None:
    with connect_warehouse(target.environment) as db:
        counts = {entity.name: totals(entity, run.run_id, db=db) for entity, run in runs.values()}
        console.print(results.currency_table(db), results.run_table(counts))
        rows = results.count_rows(db)
    console.print(f"Web UI   {target.ui_url}   user {ADMIN}   password {target.password}")
    console.print(target.next_steps)
    sums = {name: sum(entity_counts[name] for entity_counts in counts.values()) for name in _SUMMED_COUNTS}
    print(f"demo: {json.dumps({**rows, **sums, 'seconds': round(seconds, 1), 'ui': target.ui_url})}")
