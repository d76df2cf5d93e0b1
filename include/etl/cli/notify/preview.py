"""`python -m etl notify preview`: what a notice would say to one user, and whether it would be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, find_notice, parse_parameters, parse_period
from etl.cli.terminal import escape_unprintable, truncate
from etl.settings import Endpoint

if TYPE_CHECKING:
    from rich.console import Console

    from etl.notify.preview import MessagePreview, Preview
from collections.abc import Mapping

import msgspec

from etl.declare.channel import Channel
from etl.errors import SettingMissing
from etl.notify.channels import fcm, webpush
from etl.notify.channels.address import parse_address
from etl.notify.channels.channel import Message
from etl.notify.channels.mime import MimeBuilder

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

    from etl.db.connection import connect_warehouse
    from etl.notify.preview import build_preview as look

    declared, now = find_notice(notice), datetime.now(UTC)
    wanted = parse_period(declared, period, as_of=now)
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            found = look(declared, wanted, user, as_of=now, db=db, parameters=parse_parameters(parameters))
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(_heading(found))
    for shown in found.messages:
        console.print(f"{shown.channel.name}: {_describe_eligibility(shown)}")
        if folder is not None:
            _write_message(shown, folder, sent_at=now, console=console)
        else:
            _print_message(shown, console)


def _heading(result: Preview) -> str:
    run = result.run
    planned = f"run {run.run_id}, {run.state}" if run.run_id else "not planned yet"
    told = f"{run.notice} {run.period} ({planned}) to user {result.recipient.user_id}, of {result.recipient.dedupe_key}"
    return f"{told}: the newest of {result.other_count + 1:,} messages" if result.other_count else told


def _describe_eligibility(channel_preview: MessagePreview) -> str:
    address = (
        f" to {escape_unprintable(truncate(channel_preview.eligibility.address))}"
        if channel_preview.eligibility.address
        else ""
    )
    return (
        f"would not be sent{address}: {channel_preview.blocking_reason}"
        if channel_preview.blocking_reason
        else f"would be sent{address}"
    )


def _print_message(channel_preview: MessagePreview, console: Console) -> None:
    from rich.panel import Panel
    from rich.text import Text

    if channel_preview.message is None:
        return
    for part, text in channel_preview.message.parts.items():
        if part == "html":
            console.print("  html: written to a file with --to FOLDER")
        elif part in channel_preview.channel.lines:
            console.print(f"  {part}: {escape_unprintable(text)}")
        else:
            console.print(Panel(Text(escape_unprintable(text)), title=part, title_align="left"))


def _write_message(channel_preview: MessagePreview, folder: Path, *, sent_at: datetime, console: Console) -> None:
    from etl.notify.channels.channel import MessageUnsendable

    if channel_preview.message is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in message_files(channel_preview.channel, channel_preview.message, sent_at=sent_at).items():
            (folder / name).write_bytes(content)
            console.print(f"  {folder / name}")
    except MessageUnsendable as error:
        console.print(f"  it cannot be sent: {error.verdict.error_class}: {error}")


_FILE_SUFFIXES = {"text": "txt", "html": "html"}
_SENDER_CONNECTIONS = ("notices_email", "smtp_default")
_FALLBACK_SENDER = "nobody@sluice.invalid"
"""Who mails are from where no Airflow connection says it."""


def message_files(channel: Channel, message: Message, *, sent_at: datetime) -> Mapping[str, bytes]:
    """Return the files of a message by name.

    Parameters
    ----------
    sent_at
        When it is sent.

    Raises
    ------
    Unsendable
        If it cannot become what its channel carries.
    """
    match channel.name:
        case "email":
            parts = {
                f"email.{suffix}": message.parts[part].encode()
                for part, suffix in _FILE_SUFFIXES.items()
                if part in message.parts
            }
            return {
                **parts,
                "email.eml": MimeBuilder(parse_address(_from_address())).build(message, sent_at=sent_at).content,
            }
        case "push":
            return {
                "push.json": _indent_json(msgspec.json.encode({"message": fcm.build_message(message, now=sent_at)}))
            }
        case "desktop":
            return {"desktop.json": _indent_json(webpush.build_payload(message))}
    return {f"{channel.name}.json": _indent_json(msgspec.json.encode(dict(message.parts)))}


def _from_address() -> str:
    for connection in _SENDER_CONNECTIONS:
        try:
            return str(Endpoint.from_environment(connection).extra.get("from_email") or _FALLBACK_SENDER)
        except SettingMissing:
            continue
    return _FALLBACK_SENDER


def _indent_json(content: bytes) -> bytes:
    return msgspec.json.format(content, indent=2) + b"\n"
