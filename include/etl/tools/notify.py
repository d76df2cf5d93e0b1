"""`python -m etl notify`: what a notice would do and say, how far a run is, and what to do about it."""

import typer

from etl.tools.announce import send
from etl.tools.consents import consents, unsubscribe
from etl.tools.notice_plan import plan
from etl.tools.notice_preview import preview
from etl.tools.notice_status import status
from etl.tools.reopen import resolve, retry
from etl.tools.steer import cancel, pace, pause, resume
from etl.tools.suppressions import suppress, suppressed, unsuppress
from etl.tools.told import deliveries

app = typer.Typer(help="Notices: preview, plan, and steer their runs.", no_args_is_help=True)
of_runs = (preview, plan, send, status, pace, pause, resume, cancel, retry, resolve)
of_recipients = (deliveries, consents, unsubscribe, suppress, suppressed, unsuppress)
for command in (*of_runs, *of_recipients):
    app.command()(command)
