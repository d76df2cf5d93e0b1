"""What a demo does with a stack that is up: enrols users, runs the Dags, shows what arrived."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console

from dev.demo import results
from dev.demo.airflow_api import AirflowApi
from dev.demo.enrol import enrol
from dev.demo.syncs import Runs, sync
from dev.stack.airflow_environment import ADMIN
from etl.db import connection as warehouse
from etl.settings import Endpoint
from etl.sync.report import totals

_SUMMED = ("inserted", "updated", "rejected", "chunks")


@dataclass(frozen=True)
class Scene:
    """A stack as the demo uses it.

    Parameters
    ----------
    api_url
        Airflow's API server, as seen from here.
    ui_url
        The same, as people open it.
    password
        Of the user `admin`.
    environment
        With the connections that the tasks have.
    ways
        How to go on, in a sentence.
    """

    api_url: str
    ui_url: str
    password: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    ways: str


def tell(scene: Scene, *, users: int, began: float, console: Console) -> bool:
    """Sync the users' logins through Airflow, and tell whether all runs succeeded.

    Parameters
    ----------
    scene
        The stack.
    users
        How many to have enrolled.
    began
        Reading of the monotonic clock from which seconds are counted.
    console
        Where to show it.
    """
    enrolled = enrol(users, environment=scene.environment)
    console.print(f"{enrolled} users enrolled now, {users} in all; each has one login at the sandbox bank.")
    with AirflowApi(scene.api_url, user=ADMIN, password=scene.password) as airflow:
        runs = sync(airflow, environment=scene.environment, console=console)
        failed = {dag_id: run for dag_id, (_, run) in runs.items() if run.state != "success"}
        for dag_id, run in failed.items():
            tasks = ", ".join(airflow.failed_tasks(dag_id, run.run_id)) or "nothing yet"
            console.print(f"{dag_id}: run {run.run_id} is {run.state}; failed: {tasks}. See `make logs`.")
    _show(scene, runs, seconds=time.monotonic() - began, console=console)
    return not failed


def _show(scene: Scene, runs: Runs, *, seconds: float, console: Console) -> None:
    with warehouse.connect(Endpoint.from_environment("warehouse", scene.environment)) as connection:
        counts = {entity.name: totals(entity, run.run_id, warehouse=connection) for entity, run in runs.values()}
        console.print(results.by_currency(connection), results.of_runs(counts))
        size = results.size(connection)
    console.print(f"Web UI   {scene.ui_url}   user {ADMIN}   password {scene.password}")
    console.print(scene.ways)
    summed = {name: sum(each[name] for each in counts.values()) for name in _SUMMED}
    print(f"demo: {json.dumps({**size, **summed, 'seconds': round(seconds, 1), 'ui': scene.ui_url})}")
