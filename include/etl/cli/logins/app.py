"""`sluice logins`: list and show logins of users at banks, and change their states by hand."""

import typer

from etl.cli.help import add_command, format_epilog
from etl.cli.logins.change import confirm_logins, restore_logins, resume_logins, stop_logins, unlink_logins
from etl.cli.logins.show import list_logins, show_login

app = typer.Typer(
    help="List and show logins at banks; resume, stop, unlink, confirm and restore them.",
    no_args_is_help=True,
    epilog=format_epilog("sluice logins list --state needs_login", "sluice logins show 17"),
)
add_command(app, list_logins, name="list", panel="Look")
add_command(app, show_login, name="show", panel="Look")
add_command(app, resume_logins, name="resume", panel="Change")
add_command(app, stop_logins, name="stop", panel="Change")
add_command(app, unlink_logins, name="unlink", panel="Change")
add_command(app, confirm_logins, name="confirm", panel="Change")
add_command(app, restore_logins, name="restore", panel="Change")
