"""The ledger of deliveries: a row before each message, and what came of it after; a page at a time.

Only whoever holds the lock of a chunk writes its rows. A claim, its judgement and its count are one statement, and so
are what came of a page and how far the chunk has come: a crash between two statements leaves claimed rows, which the
next attempt finds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.notice import Notice
from etl.notify.store import eligibility
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.recipients import Recipient
from etl.notify.store.runs import NoticeRun


@dataclass(frozen=True)
class ClaimedDelivery:
    """A message that the caller must send now, or give up.

    Parameters
    ----------
    delivery_id
        Its row.
    recipient
        Whom it tells.
    channel
        Name of the medium.
    address
        Where it goes.
    """

    delivery_id: int
    recipient: Recipient = field(repr=False)
    channel: str
    address: str = field(repr=False)


@dataclass(frozen=True)
class ClaimedPage:
    """What was claimed of a page of recipients.

    Parameters
    ----------
    claimed
        What must be sent now.
    repeated
        How many were told before, by another run or chunk, or stand in the page twice.
    unreachable
        How many have no address.
    """

    claimed: list[ClaimedDelivery]
    repeated: int
    unreachable: int


@dataclass(frozen=True)
class DeliveryUpdate:
    """What came of a message.

    Parameters
    ----------
    delivery_id
        Its row.
    state
        `sent`, `failed`, `expired` or `unknown`.
    doubts
        How often nobody could tell whether it had arrived.
    error_class, error
        Why it did not; empty if it did.
    invalid_address
        Its address, if that will never take a message again.
    """

    delivery_id: int
    state: str
    doubts: int = 0
    error_class: str = ""
    error: str = ""
    invalid_address: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _ClaimRow:
    disposition: str
    line: int
    channel: str
    delivery_id: int | None
    address: str | None


def require_synchronous_commit(db: Connection) -> None:
    """Let no commit of this connection return before it is on disk, even on a server that is told not to wait.

    Mails cannot be taken back: what a crash of Postgres makes the ledger forget would be sent again.
    """
    db.execute(statement("notify/deliveries", "require_synchronous_commit"))


def claim(
    db: Connection, notice: Notice, run: NoticeRun, chunk: NoticeChunk, recipients: Sequence[Recipient]
) -> ClaimedPage:
    """Claim the messages of a page; consent, suppression, expiry and deleted users are read at this moment."""
    fresh = [chunk.walked_to is None or recipient.position > chunk.walked_to for recipient in recipients]
    # A statement may find a user twice for one thing, such as a payment that is pending and posted at once.
    lines: dict[tuple[int, str], int] = {}
    for line, recipient in enumerate(recipients):
        lines.setdefault((recipient.user_id, recipient.dedupe_key), line)
    firsts = list(lines.values())
    values = {
        "lines": firsts,
        "fresh": fresh,
        "reopened_at": chunk.reopened_at,
        "users": [recipients[line].user_id for line in firsts],
        "keys": [recipients[line].dedupe_key for line in firsts],
        "channels": [medium.name for medium in notice.channels],
        **eligibility.category_parameters(notice.category),
        "unknown": notice.unknown.value,
        "notice_id": run.notice_id,
        "expires_at": run.expires_at,
        **_chunk_parameters(chunk),
    }
    with db.cursor(row_factory=class_row(_ClaimRow)) as cursor:
        text = statement("notify/deliveries", "claim").substitute(
            eligibility=statement("notify/eligibility", "eligibility")
        )
        rows = cursor.execute(text, values).fetchall()
    claimed = [
        ClaimedDelivery(row.delivery_id, recipients[row.line], row.channel, row.address)
        for row in rows
        if row.delivery_id is not None and row.address is not None
    ]
    found = [row.disposition for row in rows]
    again = (sum(fresh) - sum(fresh[line] for line in firsts)) * len(notice.channels)
    return ClaimedPage(claimed, found.count("repeated") + again, found.count("unreachable"))


def record_updates(
    db: Connection,
    chunk: NoticeChunk,
    updates: Sequence[DeliveryUpdate],
    *,
    position: int,
    repeated: int = 0,
    unreachable: int = 0,
) -> None:
    """Write what came of messages, and how far the chunk has come.

    Parameters
    ----------
    position
        The last position whose deliveries have all ended.
    repeated, unreachable
        What was found of the page, if it has ended.
    """
    values = {
        "ids": [ending.delivery_id for ending in updates],
        "states": [ending.state for ending in updates],
        "doubts": [ending.doubts for ending in updates],
        "classes": [ending.error_class or None for ending in updates],
        "errors": [ending.error or None for ending in updates],
        "ended": [ending.invalid_address for ending in updates],
        "position": position,
        "repeated": repeated,
        "unreachable": unreachable,
        **_chunk_parameters(chunk),
    }
    db.execute(statement("notify/deliveries", "record_updates"), values)


def release(db: Connection, chunk: NoticeChunk, delivery_ids: Collection[int]) -> None:
    """Give up messages that were claimed and certainly not handed to anybody."""
    db.execute(statement("notify/deliveries", "release"), {"ids": list(delivery_ids), **_chunk_parameters(chunk)})


def _chunk_parameters(chunk: NoticeChunk) -> dict[str, int]:
    return {"run_id": chunk.run_id, "ordinal": chunk.ordinal, "attempt": chunk.attempt}


@dataclass(frozen=True)
class UserDelivery:
    """A delivery to a user.

    Parameters
    ----------
    notice, key
        Of what: the period of its run, or what else its notice tells of.
    channel, state, error_class
        Over which channel, what came of it, and why.
    run_id
        Which run it is of.
    claimed_at, ended_at
        When it was claimed last, and when it ended.
    """

    notice: str
    key: str
    channel: str
    state: str
    error_class: str | None
    run_id: int
    claimed_at: datetime
    ended_at: datetime | None


def list_by_user(
    db: Connection, user_id: int, *, notice: str | None, extra_keys: Collection[str], limit: int
) -> list[UserDelivery]:
    """Return what a user was told for the periods of all runs, and of what else is asked for; the newest first.

    Parameters
    ----------
    notice
        Only of this one; None for all.
    extra_keys
        More that a notice may have told of, if not of its periods.
    """
    values = {"user_id": user_id, "notice": notice, "keys": list(extra_keys), "limit": limit}
    with db.cursor(row_factory=class_row(UserDelivery)) as cursor:
        return cursor.execute(statement("notify/deliveries", "list_by_user"), values).fetchall()
