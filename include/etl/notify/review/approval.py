"""Approval: what a person must know to let a big run be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.store import approvals, runs
from etl.notify.store.runs import NoticeRun

MAX_WAIT = timedelta(days=7)
"""How long a run whose messages never expire waits for an answer."""


@dataclass(frozen=True)
class ApprovalRequest:
    """A question to a person.

    Parameters
    ----------
    subject, body
        In one line, and in Markdown.
    """

    subject: str
    body: str


def find_request(notice: Notice, run_id: int, *, db: Connection) -> ApprovalRequest | None:
    """Return what to ask before a run is sent; None if it needs no approval, or has it."""
    run = runs.find(db, run_id)
    if not approvals.is_awaited(run):
        return None
    recipients = runs.read_totals(db, run_id)["recipients"]
    return describe_run(notice, run, recipients, as_of=datetime.now(UTC))


def describe_run(notice: Notice, run: NoticeRun, recipients: int, *, as_of: datetime) -> ApprovalRequest:
    """Return the question whether a run may be sent.

    Parameters
    ----------
    recipients
        Recipients of the run.
    as_of
        When it would be approved.
    """
    duration = timedelta(seconds=round(recipients * len(notice.channels) / (run.pace or notice.pace)))
    channels = " and ".join(channel.name for channel in notice.channels)
    later = ", later for recipients in quiet hours" if notice.send_window else ""
    end = f"until about **{as_of + duration:%Y-%m-%d %H:%M} UTC**"
    arguments = f"{run.notice} --period {run.period}"
    commands = (
        f"plan {arguments}",
        f"preview {arguments} --sample 20 --out seen",
        f"seed {arguments} --to you@bank.com",
    )
    expiry = f" Without an answer until {run.expires_at:%Y-%m-%d %H:%M} UTC it is rejected." if run.expires_at else ""
    paragraphs = (
        f"Run {run.run_id} has **{recipients:,} recipients**, over {channels}.",
        f"At {run.pace:g} messages a second it takes at most {duration}: {end}{later} if it is approved now.",
        "Look at it first:",
        "\n".join(f"    sluice notify {command}" for command in commands),
        f"**Reject** cancels the run: nothing is sent, and its period is not planned again.{expiry}",
    )
    return ApprovalRequest(f"Send {run.notice} {run.period} to {recipients:,} recipients?", "\n\n".join(paragraphs))


def max_wait(notice: Notice) -> timedelta:
    """Return how long a run waits for an answer, after which it is rejected: no longer than its messages are of use."""
    return min(notice.expiry or MAX_WAIT, MAX_WAIT)
