"""The command line: `python -m etl …`."""

import sys

import typer

from etl.catalog import entities, notices
from etl.cli.describe import describe
from etl.cli.link import link
from etl.cli.migrate import migrate
from etl.cli.notify.app import app as notify
from etl.cli.plan import plan
from etl.cli.purge import purge
from etl.cli.queues import app as queues
from etl.cli.rejects import app as rejects
from etl.cli.replay import replay
from etl.cli.resync import resync
from etl.cli.status import status
from etl.errors import SluiceError

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
    if any("\ud800" <= letter <= "\udfff" for argument in sys.argv for letter in argument):
        sys.exit("error: an argument is not UTF-8; nothing was done.")
    try:
        app()
    except SluiceError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        from psycopg import DataError

        if not isinstance(error, DataError):
            raise
        found = error.diag.message_primary or error
        sys.exit(f"error: the warehouse cannot use a value that was given: {found}; nothing was done.")


if __name__ == "__main__":
    main()
