"""`python -m dev.demo`: start a stack, and sync the sandbox bank into Postgres through Airflow and Celery workers."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from dev.demo.airflow_api import AirflowTimeout
from dev.servers.errors import StackError
from dev.stack.home import DEFAULT_HOME, find
from dev.stack.plan import StackOptions
from dev.stack.shell_environment import use_catalog
from dev.stack.up import up
from etl.declare import fault
from etl.errors import SluiceError

_NEXT_STEPS = "Warehouse   `make psql`; any shell: `. .local/env`.   Stop everything: `make down`."


def demo(
    home: Annotated[Path, typer.Option(help="Folder of all files of the stack.")] = DEFAULT_HOME,
    users: Annotated[
        int | None,
        typer.Option(help="Users of the sandbox bank to enrol; by default 240, or all of SANDBOX_CSV.", min=1),
    ] = None,
    advance: Annotated[int, typer.Option(help="Days by which to advance the sandbox bank before the sync.", min=0)] = 0,
) -> None:
    """Start everything, sync the sandbox bank into Postgres, and leave it running."""
    use_catalog(find(home))
    with fault.explained():
        from dev.demo.enrol import user_count
        from dev.demo.scenario import DemoTarget, run_demo

    started = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    stack = up(
        home, caller_environment=os.environ, options=StackOptions(advance_days=advance, watches=True), say=console.print
    )
    if stack.bank_url not in stack.environment["AIRFLOW_CONN_PLAID"]:
        console.print(
            "Airflow runs, and no user is enrolled: the connection `plaid` does not lead to the sandbox bank. "
            "`AIRFLOW_CONN_PLAID= make demo` lets it lead there again."
        )
        return
    target = DemoTarget(stack.ui_url, stack.ui_url, stack.ui_password, stack.environment, _NEXT_STEPS)
    if not run_demo(target, users=user_count(users, stack.sandbox), started=started, console=console):
        sys.exit(1)


def main() -> None:
    """Run the demo; an expected error is printed as one sentence, with exit code 1."""
    try:
        typer.run(demo)
    except (StackError, SluiceError, AirflowTimeout, httpx.HTTPError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
