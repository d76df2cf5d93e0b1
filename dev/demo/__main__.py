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
from dev.demo.airflow_api import AirflowApi, AirflowSilent, DagRun
from dev.demo.enrol import enrol
from dev.demo.progress import watch
from dev.servers.errors import StackError
from dev.stack.airflow_environment import ADMIN
from dev.stack.home import DEFAULT_HOME
from dev.stack.stack import Stack
from dev.stack.up import up
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.errors import SluiceError
from etl.settings import Endpoint
from etl.stores import warehouse

_DAG = f"etl_{TRANSACTIONS.name}"


def demo(
    home: Annotated[Path, typer.Option(help="Folder of everything that the stack keeps.")] = DEFAULT_HOME,
    users: Annotated[int, typer.Option(help="Users of the sandbox bank to enrol.", min=1)] = 240,
) -> None:
    """Start everything, sync the sandbox bank into Postgres, and leave it running."""
    began = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    stack = up(home, caller=os.environ, say=console.print)
    enrolled = enrol(users, environment=stack.environment)
    console.print(f"{enrolled} users enrolled now, {users} in all; each has one login at the sandbox bank.")
    with AirflowApi(stack.ui_url, user=ADMIN, password=stack.ui_password) as airflow:
        airflow.wait_for_dag(_DAG)
        run = airflow.start_run(_DAG)
        console.print(f"{_DAG}: run {run.run_id} is under way; see {stack.ui_url}/dags/{_DAG}/runs/{run.run_id}")
        run = watch(airflow, _DAG, run, TRANSACTIONS, stack=stack, console=console)
        failed = [] if run.state == "success" else airflow.failed_tasks(_DAG, run.run_id)
    _show(stack, run, failed, seconds=time.monotonic() - began, console=console)
    if run.state != "success":
        sys.exit(1)


def _show(stack: Stack, run: DagRun, failed: list[str], *, seconds: float, console: Console) -> None:
    with warehouse.connect(Endpoint.from_environment("warehouse", stack.environment)) as connection:
        counts = results.totals(connection, TRANSACTIONS, run.run_id)
        console.print(results.by_currency(connection), results.of_run(counts))
        size = results.size(connection)
    if run.state != "success":
        console.print(
            f"Run {run.run_id} is {run.state}; failed: {', '.join(failed) or 'nothing yet'}. See `make logs`."
        )
    console.print(f"Web UI   {stack.ui_url}   user {ADMIN}   password {stack.ui_password}")
    console.print("Warehouse   `make psql`; any shell: `. .local/env`.   Stop everything: `make down`.")
    summary = {
        "transactions": size.transactions,
        **{name: counts[name] for name in ("inserted", "updated", "rejected", "chunks")},
        "seconds": round(seconds, 1),
        "ui": stack.ui_url,
    }
    print(f"demo: {json.dumps(summary)}")


def main() -> None:
    """Run the demo; what is expected to go wrong ends in a sentence and exit code 1."""
    try:
        typer.run(demo)
    except (StackError, SluiceError, AirflowSilent, httpx.HTTPError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
