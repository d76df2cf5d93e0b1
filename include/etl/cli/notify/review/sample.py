"""`sluice notify preview --sample`: messages to recipients from all over an audience, checked, and in one page."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from etl.cli.arguments import find_notice, parse_parameters, parse_period
from etl.cli.notify.review.message_files import message_files
from etl.cli.terminal import print_json, print_line
from etl.declare.notice import Consent

if TYPE_CHECKING:
    from etl.declare.notice import Notice
    from etl.notify.review.lint import Problem
    from etl.notify.review.pages import ReviewedMessage, ReviewedRecipient
    from etl.notify.review.preview import MessagePreview, Preview


def review_sample(
    notice: str, size: int, *, period: str | None, parameters: str | None, folder: Path | None, as_json: bool
) -> None:
    """Show a sample, and exit with code 1 if something is wrong with it."""
    from etl.db.connection import connect_warehouse
    from etl.notify.review.pages import render_index
    from etl.notify.review.preview import build_sample_previews

    declared, now = find_notice(notice), datetime.now(UTC)
    chosen_period = parse_period(declared, period, as_of=now)
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            previews = build_sample_previews(
                declared, chosen_period, size, as_of=now, db=db, parameters=parse_parameters(parameters)
            )
    if not previews:
        raise typer.BadParameter(f"{notice} {chosen_period} has no recipients")
    recipients = [
        _review(declared, preview, folder, f"{number:03}-user-{preview.recipient.user_id}", sent_at=now)
        for number, preview in enumerate(previews, start=1)
    ]
    page = folder and folder / "index.html"
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render_index(f"{notice} {chosen_period}", recipients), encoding="utf-8")
    if as_json:
        print_json([_to_document(recipient) for recipient in recipients])
    else:
        _print_problems(recipients)
        if page:
            print_line(str(page))
    raise typer.Exit(any(recipient.problem_count for recipient in recipients))


def _review(
    notice: Notice, preview: Preview, folder: Path | None, name: str, *, sent_at: datetime
) -> ReviewedRecipient:
    """Check the messages of a recipient, and write them into a folder of this name."""
    from etl.notify.review.pages import ReviewedRecipient

    recipient = preview.recipient
    messages = [_review_message(notice, message, folder, name, sent_at=sent_at) for message in preview.messages]
    return ReviewedRecipient(recipient.user_id, recipient.locale, recipient.time_zone, messages)


def _review_message(
    notice: Notice, preview: MessagePreview, folder: Path | None, name: str, *, sent_at: datetime
) -> ReviewedMessage:
    """Check a message, and write its files."""
    from etl.notify.channels.channel import MessageUnsendable
    from etl.notify.review.lint import Problem, find_problems
    from etl.notify.review.pages import ReviewedMessage

    channel, message = preview.channel, preview.message
    problems: list[Problem] = [Problem("message", preview.error)] if preview.error else []
    if message is None:
        return ReviewedMessage(channel.name, {}, 0, "" if problems else preview.blocking_reason, problems, [])
    try:
        files = message_files(channel, message, sent_at=sent_at)
    except MessageUnsendable as error:
        files, problems = {}, [*problems, Problem("message", str(error))]
    problems += find_problems(
        channel,
        dict(message.parts),
        mail=files.get("email.eml", b""),
        is_refusable=notice.category.consent is not Consent.NONE,
    )
    if folder and files:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / name / file).write_bytes(content)
    paths = [f"{name}/{file}" for file in files] if folder else []
    size = len(files.get("email.eml", b"") or next(iter(files.values()), b""))
    return ReviewedMessage(channel.name, message.parts, size, preview.blocking_reason, problems, paths)


def _print_problems(recipients: list[ReviewedRecipient]) -> None:
    for recipient in recipients:
        for message in recipient.messages:
            for problem in message.problems:
                print_line(f"user {recipient.user_id}, {message.channel}: {problem}")
    count = sum(recipient.problem_count for recipient in recipients)
    typer.echo(
        f"{len(recipients):,} recipient{'' if len(recipients) == 1 else 's'}, "
        f"{count or 'no'} problem{'' if count == 1 else 's'}"
    )


def _to_document(recipient: ReviewedRecipient) -> dict[str, object]:
    return {
        "user_id": recipient.user_id,
        "locale": recipient.locale,
        "time_zone": recipient.time_zone,
        "messages": [
            {
                "channel": message.channel,
                "size": message.size,
                "status": message.status,
                "problems": [asdict(problem) for problem in message.problems],
                "files": list(message.files),
            }
            for message in recipient.messages
        ],
    }
