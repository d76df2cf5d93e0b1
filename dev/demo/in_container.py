"""`python -m dev.demo.in_container`: run the demo in a container of a running Compose stack."""

import os
import sys
import time
from typing import Annotated

import httpx
import typer
from rich.console import Console

from dev.demo.airflow_api import AirflowTimeout
from dev.demo.enrol import DEFAULT_USERS
from dev.demo.scenario import DemoTarget, run_demo
from etl.errors import SluiceError

_API_SERVER = "http://api-server:8080"
_NEXT_STEPS = (
    "Warehouse   `docker compose exec postgres psql -U postgres sluice`.   "
    "Stop everything: `docker compose --profile demo down`."
)


def demo(
    users: Annotated[int, typer.Option(help="Users of the sandbox bank to enrol.", min=1)] = DEFAULT_USERS,
) -> None:
    """Sync the sandbox bank into Postgres."""
    target = DemoTarget(_API_SERVER, os.environ["UI_URL"], os.environ["ADMIN_PASSWORD"], os.environ, _NEXT_STEPS)
    console = Console(highlight=False, soft_wrap=True)
    if not run_demo(target, users=users, started=time.monotonic(), console=console):
        sys.exit(1)


def main() -> None:
    """Run the demo; an expected error is printed as one sentence, with exit code 1."""
    try:
        typer.run(demo)
    except (SluiceError, AirflowTimeout, httpx.HTTPError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
