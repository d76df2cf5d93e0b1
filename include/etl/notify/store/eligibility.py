"""Who may be told over which channel, as everything stands now; a claim judges by the same words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL

from etl.db.connection import Connection
from etl.db.statements import statement, substitute
from etl.declare.notice import Category, Notice
from etl.notify.store.recipients import Recipient, unbounded_parameters
from etl.notify.store.runs import NoticeRun


@dataclass(frozen=True)
class Eligibility:
    """What would come of a message to a user now, and what came of it already.

    Parameters
    ----------
    channel
        Name of the medium.
    address
        Where it would go; None if the user has none.
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
    """Return what the statement `eligibility` asks of a category."""
    return {"category": category.name, "consent": category.consent.value}


def check_recipient(db: Connection, notice: Notice, run: NoticeRun, recipient: Recipient) -> list[Eligibility]:
    """Return what would come of a message to one recipient over each channel, in the order of their declaration."""
    values = {**_parameters(notice, run), "user_id": recipient.user_id, "dedupe_key": recipient.dedupe_key}
    text = substitute(statement("notify/eligibility", "check_recipient"), eligibility=_eligibility_sql())
    with db.cursor(row_factory=class_row(Eligibility)) as cursor:
        found = {judgement.channel: judgement for judgement in cursor.execute(text, values).fetchall()}
    return [found[medium.name] for medium in notice.channels]


def count_audience(db: Connection, notice: Notice, run: NoticeRun) -> dict[str, dict[str, int]]:
    """Return how many messages a run would send now and hold back; a million recipients take some seconds.

    Returns
    -------
    dict
        Channel → verdict → messages. A verdict is `to_send`, `unreachable`, `repeated`, or why it is held back.
    """
    recipients = statement(run.statement_file, "recipients")
    text = substitute(
        statement("notify/eligibility", "count_audience"), recipients=recipients, eligibility=_eligibility_sql()
    )
    found: dict[str, dict[str, int]] = {medium.name: {} for medium in notice.channels}
    with db.cursor(row_factory=tuple_row) as cursor:
        for channel, verdict, messages in cursor.execute(
            text, {**unbounded_parameters(run), **_parameters(notice, run)}
        ):
            found[channel][verdict] = messages
    return found


def _eligibility_sql() -> SQL:
    return statement("notify/eligibility", "eligibility")


def _parameters(notice: Notice, run: NoticeRun) -> dict[str, object]:
    return {
        "notice": notice.name,
        "channels": [medium.name for medium in notice.channels],
        "expires_at": run.expires_at,
        **category_parameters(notice.category),
    }
