"""`python -m dev.demo`: from nothing to transactions in Postgres, through Airflow and its Celery workers."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from dev.demo import results
from dev.demo.airflow_api import AirflowApi, AirflowSilent
from dev.demo.enrol import enrol, how_many
from dev.demo.syncs import Runs, sync
from dev.servers.errors import StackError
from dev.stack.airflow_environment import ADMIN
from dev.stack.home import DEFAULT_HOME
from dev.stack.planning import Wishes
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.errors import SluiceError
from etl.settings import Endpoint
from etl.steps.report import totals
from etl.stores import warehouse

_SUMMED = ("inserted", "updated", "rejected", "chunks")


def demo(
    home: Annotated[Path, typer.Option(help="Folder of everything that the stack keeps.")] = DEFAULT_HOME,
    users: Annotated[
        int | None, typer.Option(help="Users of the sandbox bank to enrol: 240, or all of SANDBOX_CSV.", min=1)
    ] = None,
    advance: Annotated[int, typer.Option(help="Days by which to advance the sandbox bank first.", min=0)] = 0,
) -> None:
    """Start everything, sync the sandbox bank into Postgres, and leave it running."""
    began = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    stack = up(home, caller=os.environ, wishes=Wishes(advance=advance), say=console.print)
    wanted = how_many(users, stack.sandbox)
    enrolled = enrol(wanted, environment=stack.environment)
    console.print(f"{enrolled} users enrolled now, {wanted} in all; each has one login at the sandbox bank.")
    with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
        runs = sync(airflow, environment=stack.environment, console=console)
        failed = {dag_id: run for dag_id, (_, run) in runs.items() if run.state != "success"}
        for dag_id, run in failed.items():
            tasks = ", ".join(airflow.failed_tasks(dag_id, run.run_id)) or "nothing yet"
            console.print(f"{dag_id}: run {run.run_id} is {run.state}; failed: {tasks}. See `make logs`.")
    _show(stack, runs, seconds=time.monotonic() - began, console=console)
    if failed:
        sys.exit(1)


def _show(stack: Stack, runs: Runs, *, seconds: float, console: Console) -> None:
    with warehouse.connect(Endpoint.from_environment("warehouse", stack.environment)) as connection:
        counts = {entity.name: totals(entity, run.run_id, warehouse=connection) for entity, run in runs.values()}
        console.print(results.by_currency(connection), results.of_runs(counts))
        size = results.size(connection)
    console.print(f"Web UI   {stack.ui_url}   user {ADMIN}   password {stack.ui_password}")
    console.print("Warehouse   `make psql`; any shell: `. .local/env`.   Stop everything: `make down`.")
    summed = {name: sum(each[name] for each in counts.values()) for name in _SUMMED}
    print(f"demo: {json.dumps({**size, **summed, 'seconds': round(seconds, 1), 'ui': stack.ui_url})}")


def main() -> None:
    """Run the demo; what is expected to go wrong ends in a sentence and exit code 1."""
    try:
        typer.run(demo)
    except (StackError, SluiceError, AirflowSilent, httpx.HTTPError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
