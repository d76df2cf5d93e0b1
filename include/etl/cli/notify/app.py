"""`sluice notify`: preview and plan notices, control their runs, and look after their recipients."""

import typer

from etl.cli.help import add_command, format_epilog
from etl.cli.notify.bounces import bounces
from etl.cli.notify.consents import consents, unsubscribe
from etl.cli.notify.control import cancel, pace, pause, resume
from etl.cli.notify.deliveries import deliveries
from etl.cli.notify.plan import plan
from etl.cli.notify.restore import mark_sent, restored, trust
from etl.cli.notify.retry import resolve, retry
from etl.cli.notify.review.preview import preview
from etl.cli.notify.review.seed import seed
from etl.cli.notify.send import send
from etl.cli.notify.status import status
from etl.cli.notify.suppressions import suppress, suppressed, unsuppress
from etl.cli.notify.users import users

app = typer.Typer(
    help="Preview, plan and send notices, control their runs, and suppress addresses.",
    no_args_is_help=True,
    epilog=format_epilog("sluice notify status", "sluice notify plan monthly_report --period 2026-10"),
)
for panel, commands in {
    "Before sending": (plan, preview, seed, send),
    "Runs": (status, pace, pause, resume, cancel, retry, resolve),
    "After a restore": (restored, mark_sent, trust),
    "Recipients": (deliveries, consents, users, unsubscribe, suppress, unsuppress, suppressed, bounces),
}.items():
    for command in commands:
        add_command(app, command, panel=panel)
