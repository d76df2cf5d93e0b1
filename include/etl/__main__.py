"""The command line: `python -m etl …`."""

import sys

import typer

from etl.catalog import entities, notices
from etl.errors import SluiceError
from etl.tools.describe import describe
from etl.tools.link import link
from etl.tools.migrate import migrate
from etl.tools.notify import app as notify
from etl.tools.plan import plan
from etl.tools.purge import purge
from etl.tools.queues import app as queues
from etl.tools.rejects import app as rejects
from etl.tools.replay import replay
from etl.tools.resync import resync
from etl.tools.status import status

app = typer.Typer(
    name="python -m etl", help="Sluice, from the command line.", no_args_is_help=True, add_completion=False
)
for command in (describe, link, migrate, plan, purge, replay, resync, status):
    app.command()(command)
app.add_typer(notify, name="notify")
app.add_typer(queues, name="queues")
app.add_typer(rejects, name="rejects")


def main() -> None:
    """Run a command for what is declared well; an expected error is one sentence and exit code 1."""
    for fault in (*entities.FAULTS, *notices.FAULTS):
        typer.echo(f"warning: {fault}", err=True)
    try:
        app()
    except SluiceError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
