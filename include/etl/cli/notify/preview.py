"""`python -m etl notify preview`: what a notice would say to one user, and whether it would be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, notice_named, parameters_of, period_of
from etl.cli.terminal import printable, shortened
from etl.settings import Endpoint

if TYPE_CHECKING:
    from rich.console import Console

    from etl.notify.preview import Preview, Shown
from collections.abc import Mapping

import msgspec

from etl.declare.channel import Medium
from etl.errors import SettingMissing
from etl.notify.channels import fcm, webpush
from etl.notify.channels.address import parse
from etl.notify.channels.channel import Message
from etl.notify.channels.mime import Skeleton

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

    from etl.db import connection as warehouse
    from etl.notify.preview import preview as look

    declared, now = notice_named(notice), datetime.now(UTC)
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
    from etl.notify.channels.channel import Unsendable

    if shown.message is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in files(shown.medium, shown.message, at=at).items():
            (folder / name).write_bytes(content)
            console.print(f"  {folder / name}")
    except Unsendable as error:
        console.print(f"  it cannot be sent: {error.verdict.error_class}: {error}")


_SUFFIXES = {"text": "txt", "html": "html"}
_SENDERS = ("notices_email", "smtp_default")
_NOBODY = "nobody@sluice.invalid"
"""Who mails are from where no Airflow connection says it."""


def files(medium: Medium, message: Message, *, at: datetime) -> Mapping[str, bytes]:
    """Return the files of a message by name.

    Parameters
    ----------
    at
        When it is sent.

    Raises
    ------
    Unsendable
        If it cannot become what its channel carries.
    """
    match medium.name:
        case "email":
            parts = {
                f"email.{suffix}": message.parts[part].encode()
                for part, suffix in _SUFFIXES.items()
                if part in message.parts
            }
            return {**parts, "email.eml": Skeleton(parse(_sender())).fill(message, at=at).content}
        case "push":
            return {"push.json": _indented(msgspec.json.encode({"message": fcm.content(message, now=at)}))}
        case "desktop":
            return {"desktop.json": _indented(webpush.payload(message))}
    return {f"{medium.name}.json": _indented(msgspec.json.encode(dict(message.parts)))}


def _sender() -> str:
    for connection in _SENDERS:
        try:
            return str(Endpoint.from_environment(connection).extra.get("from_email") or _NOBODY)
        except SettingMissing:
            continue
    return _NOBODY


def _indented(content: bytes) -> bytes:
    return msgspec.json.format(content, indent=2) + b"\n"
