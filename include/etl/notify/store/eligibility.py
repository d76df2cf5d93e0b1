"""Who may be told over which channel, as everything stands now; a claim judges by the same words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row, tuple_row
from psycopg.sql import SQL

from etl.db.connection import Warehouse
from etl.db.statements import spliced, statement
from etl.declare.notice import Category, Notice
from etl.notify.store.recipients import Recipient, unbounded
from etl.notify.store.runs import NoticeRun


@dataclass(frozen=True)
class Judgement:
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
    delivery_id, run_id, told, told_class, told_at
        Its row in the ledger, if there is one: of which run, in which state, why and since when.
    """

    channel: str
    address: str | None = field(repr=False)
    state: str
    error_class: str | None
    delivery_id: int | None
    run_id: int | None
    told: str | None
    told_class: str | None
    told_at: datetime | None


def of_category(category: Category) -> dict[str, str]:
    """Return what the statement `judged` asks of a category."""
    return {"category": category.name, "consent": category.consent.value}


def of_user(warehouse: Warehouse, notice: Notice, run: NoticeRun, recipient: Recipient) -> list[Judgement]:
    """Return what would come of a message to one recipient over each channel, in the order of their declaration."""
    values = {**_values(notice, run), "user_id": recipient.user_id, "dedupe_key": recipient.dedupe_key}
    text = spliced(statement("notify/eligibility", "of_user"), judged=_judged())
    with warehouse.cursor(row_factory=class_row(Judgement)) as cursor:
        found = {judgement.channel: judgement for judgement in cursor.execute(text, values).fetchall()}
    return [found[medium.name] for medium in notice.channels]


def of_audience(warehouse: Warehouse, notice: Notice, run: NoticeRun) -> dict[str, dict[str, int]]:
    """Return how many messages a run would send now and hold back; a million recipients take some seconds.

    Returns
    -------
    dict
        Channel → verdict → messages. A verdict is `to_send`, `unreachable`, `repeated`, or why it is held back.
    """
    recipients = statement(run.audience, "recipients")
    text = spliced(statement("notify/eligibility", "of_audience"), recipients=recipients, judged=_judged())
    found: dict[str, dict[str, int]] = {medium.name: {} for medium in notice.channels}
    with warehouse.cursor(row_factory=tuple_row) as cursor:
        for channel, verdict, messages in cursor.execute(text, {**unbounded(run), **_values(notice, run)}):
            found[channel][verdict] = messages
    return found


def _judged() -> SQL:
    return statement("notify/eligibility", "judged")


def _values(notice: Notice, run: NoticeRun) -> dict[str, object]:
    return {
        "notice": notice.name,
        "channels": [medium.name for medium in notice.channels],
        "expires_at": run.expires_at,
        **of_category(notice.category),
    }
