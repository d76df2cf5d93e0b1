"""The commands of `sluice`, grouped as its help shows them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from etl.catalog import entities, notices
from etl.cli.contacts.app import app as contacts
from etl.cli.declarations.check import check
from etl.cli.declarations.conform import conform
from etl.cli.describe import describe
from etl.cli.help import add_command, format_epilog
from etl.cli.init import init
from etl.cli.logins.app import app as logins
from etl.cli.logins.keys import app as keys
from etl.cli.logins.link import link
from etl.cli.migrate import migrate
from etl.cli.notify.app import app as notify
from etl.cli.plan import plan
from etl.cli.purge import purge
from etl.cli.quarantine import app as quarantine
from etl.cli.queues import app as queues
from etl.cli.rejects import app as rejects
from etl.cli.replay import replay
from etl.cli.resync import resync
from etl.cli.rows.correct import app as correct
from etl.cli.rows.history import app as history
from etl.cli.status import status
from etl.errors import PermanentError

_PANELS = _SYNC, _NOTICES, _OPERATE = ("Sync", "Notices", "Operate")
_DISTRIBUTION = "sluice"


class NotInstalled(PermanentError):
    """Sluice runs from its source tree, which has no version of its own."""

    def __init__(self) -> None:
        super().__init__(
            "Sluice runs from a folder and is not installed as a package, so its version is not known; "
            "`make install` installs it."
        )


def warn_of_faults() -> None:
    """Print a warning for each wrong declaration; the commands work without what it declares."""
    for fault in (*entities.FAULTS, *notices.FAULTS):
        typer.echo(f"warning: {fault}", err=True)


def _print_version(requested: bool) -> None:  # noqa: FBT001 - Typer's signature of a callback
    if not requested:
        return
    from importlib import metadata

    try:
        version = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise NotInstalled from None
    typer.echo(f"sluice {version}")
    raise typer.Exit


def sluice(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Sync bank accounts, transactions and merchants into Postgres, and send notices."""


class _PanelGroup(TyperGroup):
    """A group whose help shows its panels in their order; by default, those of subgroups come last."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Typer does not export the type
        """Return the names of the commands, by panel."""
        return sorted(super().list_commands(ctx), key=lambda name: _PANELS.index(_panel_of(self.commands[name])))


def _panel_of(command: object) -> str:
    return str(getattr(command, "rich_help_panel", ""))


app = typer.Typer(
    name="sluice",
    cls=_PanelGroup,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=format_epilog("sluice status", "sluice replay --help", "sluice --install-completion"),
)
app.callback()(sluice)
add_command(app, status, panel=_SYNC)
add_command(app, plan, panel=_SYNC)
add_command(app, replay, panel=_SYNC)
app.add_typer(rejects, name="rejects", rich_help_panel=_SYNC)
app.add_typer(quarantine, name="quarantine", rich_help_panel=_SYNC)
app.add_typer(history, name="history", rich_help_panel=_SYNC)
app.add_typer(correct, name="correct", rich_help_panel=_SYNC)
add_command(app, resync, panel=_SYNC)
add_command(app, link, panel=_SYNC)
app.add_typer(logins, name="logins", rich_help_panel=_SYNC)
app.add_typer(notify, name="notify", rich_help_panel=_NOTICES)
app.add_typer(contacts, name="contacts", rich_help_panel=_NOTICES)
add_command(app, init, panel=_OPERATE)
add_command(app, migrate, panel=_OPERATE)
add_command(app, check, panel=_OPERATE)
add_command(app, purge, panel=_OPERATE)
app.add_typer(queues, name="queues", rich_help_panel=_OPERATE)
app.add_typer(keys, name="keys", rich_help_panel=_OPERATE)
add_command(app, describe, panel=_OPERATE)
add_command(app, conform, panel=_OPERATE)
