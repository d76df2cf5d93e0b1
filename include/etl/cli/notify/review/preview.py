"""`sluice notify preview`: render the messages of a notice to one user, and check whether they would be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import (
    NoticeName,
    Parameters,
    Period,
    find_notice,
    parse_parameters,
    parse_period,
    require_id,
)
from etl.cli.help import AsJson, examples
from etl.cli.notify.review.message_files import message_files
from etl.cli.notify.review.sample import review_sample
from etl.cli.terminal import escape_unprintable, open_console, print_json, print_line, truncate
from etl.safe_text import NON_JOINER

if TYPE_CHECKING:
    from etl.notify.review.preview import MessagePreview, Preview

_User = Annotated[
    int | None, typer.Option(metavar="ID", help="The recipient's user_id in core.users.", callback=require_id)
]
_Folder = Annotated[
    Path | None,
    typer.Option(
        "--to",
        "--out",
        metavar="FOLDER",
        help="Write the messages into this folder instead, as they would be sent.",
        file_okay=False,
    ),
]
_JSON = (
    "`notice`, `period`, `run_id` and `state` (null if the run is not planned yet), `user_id`, `dedupe_key`, "
    "`other_messages` (how many more the user would get) and `messages`, a list of `channel`, `address`, "
    "`would_be_sent`, `blocking_reason` (empty if it would), `parts` (texts by name; null if there is no message) and "
    "`files` (paths, with --to). With --sample it prints a list of `user_id`, `locale`, `time_zone` and `messages`, a "
    "list of `channel`, `size`, `status`, `problems` and `files`"
)


@examples(
    "sluice notify preview monthly_report --user 4711 --period 2026-10",
    "sluice notify preview monthly_report --sample 20 --out seen",
    "sluice notify preview fraud_alert --user 7 --period key:flag-123",
    json=_JSON,
)
def preview(
    notice: NoticeName,
    *,
    user: _User = None,
    sample: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT",
            help="Instead of one user: this many from all over the audience, and one for each language; checks them.",
            min=1,
            max=1_000,
        ),
    ] = None,
    period: Period = None,
    parameters: Parameters = None,
    folder: _Folder = None,
    as_json: AsJson = False,
) -> None:
    """Show the messages to a user, or to a sample of users with a page of all, and whether they would be sent now.

    Nothing is sent. Problems of a sample make the exit code 1.
    """
    from etl.db.connection import connect_warehouse
    from etl.notify.review.preview import build_preview

    if (user is None) == (sample is None):
        raise typer.BadParameter("give either --user or --sample")
    if sample is not None:
        review_sample(notice, sample, period=period, parameters=parameters, folder=folder, as_json=as_json)
        return
    declared, now = find_notice(notice), datetime.now(UTC)
    chosen_period = parse_period(declared, period, as_of=now)
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            result = build_preview(
                declared, chosen_period, user or 0, as_of=now, db=db, parameters=parse_parameters(parameters)
            )
    if as_json:
        documents = [_to_document(message, folder, sent_at=now) for message in result.messages]
        print_json({**_heading_document(result), "messages": documents})
        return
    print_line(_heading(result))
    for message in result.messages:
        print_line(f"{message.channel.name}: {_describe_eligibility(message)}")
        if folder is None:
            _print_message(message)
        else:
            paths, error = _write_message(message, folder, sent_at=now)
            for line in (*paths, *([f"it cannot be sent: {error}"] if error else [])):
                print_line(f"  {line}")


def _heading(result: Preview) -> str:
    run = result.run
    state = f"run {run.run_id}, {run.state}" if run.run_id else "not planned yet"
    recipient = f"user {result.recipient.user_id}, dedupe key {result.recipient.dedupe_key}"
    newest = f": the newest of {result.other_count + 1:,} messages" if result.other_count else ""
    return f"{run.notice} {run.period} ({state}) to {recipient}{newest}"


def _heading_document(result: Preview) -> dict[str, object]:
    run = result.run
    return {
        "notice": run.notice,
        "period": run.period,
        "run_id": run.run_id or None,
        "state": run.state if run.run_id else None,
        "user_id": result.recipient.user_id,
        "dedupe_key": result.recipient.dedupe_key,
        "other_messages": result.other_count,
    }


def _to_document(message: MessagePreview, folder: Path | None, *, sent_at: datetime) -> dict[str, object]:
    paths, error = ([], "") if folder is None else _write_message(message, folder, sent_at=sent_at)
    blocking_reason = message.blocking_reason or error
    return {
        "channel": message.channel.name,
        "address": message.eligibility.address,
        "would_be_sent": not blocking_reason,
        "blocking_reason": blocking_reason,
        "parts": None if message.message is None else dict(message.message.parts),
        "files": [str(path) for path in paths],
    }


def _describe_eligibility(message: MessagePreview) -> str:
    address = f" to {truncate(message.eligibility.address)}" if message.eligibility.address else ""
    if message.blocking_reason:
        return f"would not be sent{address}: {message.blocking_reason}"
    return f"would be sent{address}"


def _print_message(message: MessagePreview) -> None:
    from rich.panel import Panel
    from rich.text import Text

    if message.message is None:
        return
    for part, text in message.message.parts.items():
        if part == "html":
            typer.echo("  html: written to a file with --to FOLDER")
        elif part in message.channel.lines:
            print_line(f"  {part}: {text.replace(NON_JOINER, '')}")
        else:
            panel = Panel(Text(escape_unprintable(text.replace(NON_JOINER, ""))), title=part, title_align="left")
            open_console().print(panel, soft_wrap=True)


def _write_message(message: MessagePreview, folder: Path, *, sent_at: datetime) -> tuple[list[Path], str]:
    """Write the files of a message, and return their paths and why it cannot be sent; empty if it can."""
    from etl.notify.channels.channel import MessageUnsendable

    if message.message is None:
        return [], ""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    try:
        for name, content in message_files(message.channel, message.message, sent_at=sent_at).items():
            (folder / name).write_bytes(content)
            paths.append(folder / name)
    except MessageUnsendable as error:
        return paths, f"{error.verdict.error_class}: {error}"
    return paths, ""
