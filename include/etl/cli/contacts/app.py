"""`sluice contacts`: show, end and revive the addresses of users."""

import typer

from etl.cli.contacts.change import end_contacts, revive_contacts
from etl.cli.contacts.show import show_contacts
from etl.cli.help import add_command, format_epilog

app = typer.Typer(
    help="Show the addresses of users and what was said against them; end and revive them.",
    no_args_is_help=True,
    epilog=format_epilog("sluice contacts show joe@example.org", "sluice contacts revive --help"),
)
add_command(app, show_contacts, name="show", panel="Look")
add_command(app, end_contacts, name="end", panel="Change")
add_command(app, revive_contacts, name="revive", panel="Change")
