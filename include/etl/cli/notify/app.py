"""`python -m etl notify`: what a notice would do and say, how far a run is, and what to do about it."""

import typer

from etl.cli.notify.consents import consents, unsubscribe
from etl.cli.notify.control import cancel, pace, pause, resume
from etl.cli.notify.deliveries import deliveries
from etl.cli.notify.plan import plan
from etl.cli.notify.preview import preview
from etl.cli.notify.retry import resolve, retry
from etl.cli.notify.send import send
from etl.cli.notify.status import status
from etl.cli.notify.suppressions import suppress, suppressed, unsuppress

app = typer.Typer(help="Notices: preview, plan, and steer their runs.", no_args_is_help=True)
run_commands = (preview, plan, send, status, pace, pause, resume, cancel, retry, resolve)
recipient_commands = (deliveries, consents, unsubscribe, suppress, suppressed, unsuppress)
for command in (*run_commands, *recipient_commands):
    app.command()(command)
