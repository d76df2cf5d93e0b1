"""The ledger of deliveries, written a page at a time: a row before each message is sent, its outcome afterwards.

Only the holder of a chunk's lock writes the rows of the chunk. One statement checks eligibility, claims and counts;
another records the outcomes of a page and the position of its chunk. A crash between the two leaves rows `claimed`,
which the next attempt finds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement, statements
from etl.declare.notice import Notice
from etl.notify.store import eligibility
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.recipients import Recipient
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/deliveries")


class DeferralReason(Enum):
    """Why a delivery waits."""

    RETRY = "retry"
    """A server did not take it, or broke the connection."""
    REOPENED = "reopened"
    """A person allowed another try."""
    HELD = "held"
    """Sending to its destination is held, since too much failed there."""
    QUIET_HOURS = "quiet_hours"
    """Its recipient wants no messages now."""


@dataclass(frozen=True)
class ClaimedDelivery:
    """A message that the caller must now send or release.

    Parameters
    ----------
    delivery_id
        Its row in the ledger.
    recipient
        Who gets it.
    channel
        Name of the channel.
    address
        The recipient's address on that channel.
    doubts
        After how many earlier tries it was unknown whether the message had arrived.
    tries
        How often a server has deferred it.
    first_tried_at
        When a server deferred it first; None if none did.
    """

    delivery_id: int
    recipient: Recipient = field(repr=False)
    channel: str
    address: str = field(repr=False)
    doubts: int = 0
    tries: int = 0
    first_tried_at: datetime | None = None


@dataclass(frozen=True)
class ClaimedPage:
    """Result of claiming a page of recipients.

    Parameters
    ----------
    claimed
        Messages to send now.
    repeated
        Number of messages skipped as duplicates: claimed by another run or chunk before, or twice in this page.
    unreachable
        Number of messages skipped because there is no address.
    """

    claimed: list[ClaimedDelivery]
    repeated: int
    unreachable: int


@dataclass(frozen=True)
class Deferral:
    """How a delivery waits.

    Parameters
    ----------
    position
        Position of its recipient in the audience.
    reason
        Why it waits.
    wait
        Time until it is due.
    tries
        How often a server has deferred it.
    destination
        Mail domain, push service or project; empty if none is known.
    """

    position: int
    reason: DeferralReason
    wait: timedelta
    tries: int = 0
    destination: str = ""


@dataclass(frozen=True)
class DeliveryUpdate:
    """Outcome of one message.

    Parameters
    ----------
    delivery_id
        Its row in the ledger.
    state
        `sent`, `failed`, `expired`, `unknown` or `deferred`.
    doubts
        Number of tries after which it was unknown whether the message had arrived.
    error_class, error
        Why it was not delivered; empty if it was.
    invalid_address
        Its address, if that is permanently invalid.
    deferral
        How it waits, if it is deferred.
    """

    delivery_id: int
    state: str
    doubts: int = 0
    error_class: str = ""
    error: str = ""
    invalid_address: str | None = field(default=None, repr=False)
    deferral: Deferral | None = None


@dataclass(frozen=True)
class UserDelivery:
    """A delivery to a user.

    Parameters
    ----------
    notice, key
        Name of the notice, and the dedupe key: the period of the run, or whatever else the notice uses.
    channel, state, error_class
        Channel, state, and the reason for that state.
    run_id
        Its run.
    claimed_at, ended_at
        When it was last claimed, and when it ended.
    """

    notice: str
    key: str
    channel: str
    state: str
    error_class: str | None
    run_id: int
    claimed_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class _ClaimRow:
    disposition: str
    line: int
    channel: str
    delivery_id: int | None
    address: str | None
    doubts: int


def require_synchronous_commit(db: Connection) -> None:
    """Make each commit of this connection wait until it is on disk, even if the server's default is not to wait.

    Sent messages cannot be taken back: those whose rows a crash of Postgres loses would be sent again.
    """
    _SQL["require_synchronous_commit"].run(db)


def claim(
    db: Connection, notice: Notice, run: NoticeRun, chunk: NoticeChunk, recipients: Sequence[Recipient]
) -> ClaimedPage:
    """Claim the messages of a page; consent, suppressions, expiry and deleted users are checked at this moment."""
    # The statement of a notice may return a user twice with one dedupe key, for example for a payment that is both
    # pending and posted.
    line_by_key: dict[tuple[int, str], int] = {}
    for line, recipient in enumerate(recipients):
        line_by_key.setdefault((recipient.user_id, recipient.dedupe_key), line)
    lines = list(line_by_key.values())
    values = {
        "lines": lines,
        "positions": [recipients[line].position for line in lines],
        "first_position": recipients[0].position,
        "last_position": recipients[-1].position,
        "user_ids": [recipients[line].user_id for line in lines],
        "dedupe_keys": [recipients[line].dedupe_key for line in lines],
        "channels": [channel.name for channel in notice.channels],
        **eligibility.category_parameters(notice.category),
        "notice": notice.name,
        "unknown": notice.unknown.value,
        "notice_id": run.notice_id,
        "expires_at": run.expires_at,
        **chunk.parameters,
    }
    query = _SQL["claim"].substitute(eligibility=statement("notify/eligibility", "eligibility"))
    rows = query.objects(db, _ClaimRow, values)
    claimed = [
        ClaimedDelivery(row.delivery_id, recipients[row.line], row.channel, row.address, row.doubts)
        for row in rows
        if row.delivery_id is not None and row.address is not None
    ]
    dispositions = [row.disposition for row in rows]
    repeated_in_page = (len(recipients) - len(lines)) * len(notice.channels)
    return ClaimedPage(claimed, dispositions.count("repeated") + repeated_in_page, dispositions.count("unreachable"))


def record_updates(
    db: Connection,
    chunk: NoticeChunk,
    updates: Sequence[DeliveryUpdate],
    *,
    position: int,
    recipients: int = 0,
    repeated: int = 0,
    unreachable: int = 0,
) -> None:
    """Record the outcomes of messages and the position of the chunk.

    Parameters
    ----------
    position
        Last position of which all deliveries have ended or are deferred.
    recipients
        Number of recipients of the page, if the walk has passed it.
    repeated, unreachable
        Counts of the `ClaimedPage`, if the whole page has ended.
    """
    deferrals = {update.delivery_id: update.deferral for update in updates if update.deferral is not None}
    values = {
        "delivery_ids": [update.delivery_id for update in updates],
        "states": [update.state for update in updates],
        "doubts": [update.doubts for update in updates],
        "error_classes": [update.error_class or None for update in updates],
        "errors": [update.error or None for update in updates],
        "invalid_addresses": [update.invalid_address for update in updates],
        "deferred_ids": list(deferrals),
        "positions": [deferral.position for deferral in deferrals.values()],
        "reasons": [deferral.reason.value for deferral in deferrals.values()],
        "destinations": [deferral.destination for deferral in deferrals.values()],
        "waits": [deferral.wait for deferral in deferrals.values()],
        "tries": [deferral.tries for deferral in deferrals.values()],
        "position": position,
        "walked": recipients,
        "repeated": repeated,
        "unreachable": unreachable,
        **chunk.parameters,
    }
    bounces = statements("notify/bounces/bounces")
    query = _SQL["record_updates"].substitute(
        record_refusals=bounces["record_refusals"], record_acceptances=bounces["record_acceptances"]
    )
    query.run(db, values)


def release(db: Connection, chunk: NoticeChunk, delivery_ids: Collection[int]) -> None:
    """Undo the claims of messages that were certainly not sent."""
    _SQL["release"].run(db, {"delivery_ids": list(delivery_ids), **chunk.parameters})


def list_by_user(
    db: Connection, user_id: int, *, notice: str | None, extra_keys: Collection[str], limit: int
) -> list[UserDelivery]:
    """Return the deliveries to a user, the newest first: those of the periods of all runs, and of `extra_keys`.

    Parameters
    ----------
    notice
        Only deliveries of this notice; None for all.
    extra_keys
        Further dedupe keys, for notices that do not use their period as the dedupe key.
    """
    values = {"user_id": user_id, "notice": notice, "extra_keys": list(extra_keys), "limit": limit}
    return _SQL["list_by_user"].objects(db, UserDelivery, values)
