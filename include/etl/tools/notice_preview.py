"""`python -m etl notify preview`: what a notice would say to one user, and whether it would be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.settings import Endpoint
from etl.tools.notices import NoticeName, Parameters, Period, named, parameters_of, period_of
from etl.tools.printable import printable, shortened

if TYPE_CHECKING:
    from rich.console import Console

    from etl.steps.preview import Preview, Shown

_User = Annotated[int, typer.Option(help="Whom: a user_id in core.users.", min=1, max=2**63 - 1)]
_Folder = Annotated[
    Path | None,
    typer.Option("--to", help="Write the messages into this folder instead, as they would be sent.", file_okay=False),
]


def preview(
    notice: NoticeName,
    user: _User,
    period: Period = None,
    parameters: Parameters = None,
    folder: _Folder = None,
) -> None:
    """Show what a notice would say to a user now, over each channel, and whether it would be sent; send nothing."""
    from rich.console import Console

    from etl.steps.preview import preview as look
    from etl.stores import warehouse

    declared, now = named(notice), datetime.now(UTC)
    wanted = period_of(declared, period, as_of=now)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        connection.read_only = True
        with connection.transaction():
            found = look(declared, wanted, user, as_of=now, warehouse=connection, parameters=parameters_of(parameters))
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(_heading(found))
    for shown in found.shown:
        console.print(f"{shown.medium.name}: {_verdict(shown)}")
        if folder is not None:
            _write(shown, folder, at=now, console=console)
        else:
            _print(shown, console)


def _heading(found: Preview) -> str:
    run = found.run
    planned = f"run {run.run_id}, {run.state}" if run.run_id else "not planned yet"
    told = f"{run.notice} {run.period} ({planned}) to user {found.recipient.user_id}, of {found.recipient.dedupe_key}"
    return f"{told}: the newest of {found.others + 1:,} messages" if found.others else told


def _verdict(shown: Shown) -> str:
    address = f" to {printable(shortened(shown.judgement.address))}" if shown.judgement.address else ""
    return f"would not be sent{address}: {shown.obstacle}" if shown.obstacle else f"would be sent{address}"


def _print(shown: Shown, console: Console) -> None:
    from rich.panel import Panel
    from rich.text import Text

    if shown.message is None:
        return
    for part, text in shown.message.parts.items():
        if part == "html":
            console.print("  html: written to a file with --to FOLDER")
        elif part in shown.medium.lines:
            console.print(f"  {part}: {printable(text)}")
        else:
            console.print(Panel(Text(printable(text)), title=part, title_align="left"))


def _write(shown: Shown, folder: Path, *, at: datetime, console: Console) -> None:
    from etl.tools.message_files import files
    from etl.wire.channels.verdicts import Unsendable

    if shown.message is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in files(shown.medium, shown.message, at=at).items():
            (folder / name).write_bytes(content)
            console.print(f"  {folder / name}")
    except Unsendable as error:
        console.print(f"  it cannot be sent: {error.verdict.error_class}: {error}")
