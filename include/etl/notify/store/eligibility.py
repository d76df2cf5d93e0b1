"""Decides who may be sent a message over which channel now.

`deliveries.claim` uses the same SQL, so that previews and sends agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement
from etl.declare.notice import Category, Notice
from etl.notify.store.audience import naming_errors_of
from etl.notify.store.recipients import Recipient, unbounded_parameters
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/eligibility")


@dataclass(frozen=True)
class Eligibility:
    """Whether a message to a user would be sent now, and what became of it before.

    Parameters
    ----------
    channel
        Name of the channel.
    address
        Where the message would go; None if the user has no address there.
    state
        `claimed` if it may be sent; or `suppressed` or `expired`.
    error_class
        Why it is held back: `no_consent`, `suppressed_address` or `user_deleted`.
    delivery_id, run_id, delivery_state, delivery_error_class, delivery_state_at
        Its row in the ledger, if there is one: of which run, in which state, why and since when.
    """

    channel: str
    address: str | None = field(repr=False)
    state: str
    error_class: str | None
    delivery_id: int | None
    run_id: int | None
    delivery_state: str | None
    delivery_error_class: str | None
    delivery_state_at: datetime | None


def category_parameters(category: Category) -> dict[str, str]:
    """Return the parameters of the statement `eligibility` for a category."""
    return {"category": category.name, "consent": category.consent.value}


def check_recipient(db: Connection, notice: Notice, run: NoticeRun, recipient: Recipient) -> list[Eligibility]:
    """Return one recipient's eligibility for each channel of the notice, in declared order."""
    values = {**_parameters(notice, run), "user_id": recipient.user_id, "dedupe_key": recipient.dedupe_key}
    found = _SQL["check_recipient"].objects(db, Eligibility, values)
    by_channel = {eligibility.channel: eligibility for eligibility in found}
    return [by_channel[channel.name] for channel in notice.channels]


def count_audience(db: Connection, notice: Notice, run: NoticeRun) -> dict[str, dict[str, int]]:
    """Return how many messages a run would send now and hold back; this takes seconds for a million recipients.

    Returns
    -------
    dict
        Channel → disposition → messages. A disposition is `to_send`, `unreachable`, `repeated`, or the reason why it is
        held back.
    """
    query = _SQL["count_audience"].substitute(recipients=statement(run.statement_file, "recipients"))
    counts: dict[str, dict[str, int]] = {channel.name: {} for channel in notice.channels}
    with naming_errors_of(run.statement_file, "recipients"):
        rows = query.rows(db, {**unbounded_parameters(run), **_parameters(notice, run)})
    for channel, disposition, messages in rows:
        counts[channel][disposition] = messages
    return counts


def _parameters(notice: Notice, run: NoticeRun) -> dict[str, object]:
    return {
        "notice": notice.name,
        "channels": [channel.name for channel in notice.channels],
        "expires_at": run.expires_at,
        **category_parameters(notice.category),
    }
