"""Decides who may be sent a message over which channel now.

`deliveries.claim` uses the same SQL, so that previews and sends agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement
from etl.declare.notice import Category, Notice
from etl.notify.audience.rules import naming_errors_of
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
        Why it is held back: `no_consent`, `capped`, `suppressed_address` or `user_deleted`.
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


def category_parameters(category: Category) -> dict[str, object]:
    """Return the parameters of the statement `eligibility` for a category."""
    return {
        "category": category.name,
        "consent": category.consent.value,
        "cap_count": category.cap.count if category.cap else None,
        "cap_per": category.cap.per if category.cap else None,
    }


def check_recipient(db: Connection, notice: Notice, run: NoticeRun, recipient: Recipient) -> list[Eligibility]:
    """Return one recipient's eligibility for each channel of the notice, in declared order."""
    values = {**_parameters(notice, run), "user_id": recipient.user_id, "dedupe_key": recipient.dedupe_key}
    found = _SQL["check_recipient"].objects(db, Eligibility, values)
    by_channel = {eligibility.channel: eligibility for eligibility in found}
    return [by_channel[channel.name] for channel in notice.channels]


@dataclass(frozen=True)
class AudienceCount:
    """How many messages of a run have one fate, to recipients of one time zone.

    Parameters
    ----------
    channel
        Name of the channel.
    disposition
        `to_send`, `unreachable`, `repeated`, or the reason why they are held back.
    time_zone
        As the users named it; None of those who named none.
    messages
        How many.
    """

    channel: str
    disposition: str
    time_zone: str | None
    messages: int


def count_audience(db: Connection, notice: Notice, run: NoticeRun) -> list[AudienceCount]:
    """Return how many messages a run would send now and hold back; this takes seconds for a million recipients."""
    query = _SQL["count_audience"].substitute(recipients=statement(run.statement_file, "recipients"))
    with naming_errors_of(run.statement_file, "recipients"):
        return query.objects(db, AudienceCount, {**unbounded_parameters(run), **_parameters(notice, run)})


def _parameters(notice: Notice, run: NoticeRun) -> dict[str, object]:
    return {
        "notice": notice.name,
        "channels": [channel.name for channel in notice.channels],
        "expires_at": run.expires_at,
        **category_parameters(notice.category),
    }
