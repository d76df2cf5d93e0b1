"""Deferred deliveries: those that wait for a later try, and when they are due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile, statement
from etl.declare.notice import Notice
from etl.notify.store import eligibility, recipients
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import ClaimedDelivery
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/deferrals")


@dataclass(frozen=True)
class DueDelivery:
    """A deferred delivery whose time has come.

    Parameters
    ----------
    delivery_id
        Its row in the ledger.
    position
        Position of its recipient in the audience; None if the recipient has left it.
    tries, first_tried_at
        How often a server has deferred it, and when first.
    user_id, dedupe_key
        Its recipient.
    doubts
        After how many tries it was unknown whether the message had arrived.
    """

    delivery_id: int
    position: int | None
    tries: int
    first_tried_at: datetime | None
    user_id: int
    dedupe_key: str
    doubts: int


@dataclass(frozen=True)
class Waiting:
    """The deferred deliveries of a chunk.

    Parameters
    ----------
    deliveries
        How many there are.
    wait
        Time until the first of them is due.
    """

    deliveries: int
    wait: timedelta


@dataclass(frozen=True)
class DeferralGroup:
    """Deferred deliveries of a run that wait for the same reason at the same destination.

    Parameters
    ----------
    reason
        Why they wait: a value of `DeferralReason`.
    destination
        Where they are to go; empty if unknown.
    error_class
        Of the last answer; empty if there was none.
    deliveries
        How many there are.
    next_at, last_at
        When the first and the last of them are due.
    """

    reason: str
    destination: str
    error_class: str
    deliveries: int
    next_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class _ClaimRow:
    line: int
    channel: str
    delivery_id: int
    address: str


def list_due(db: Connection, chunk: NoticeChunk, *, limit: int) -> list[DueDelivery]:
    """Return the deferred deliveries of a chunk that are due, those that have waited longest first."""
    return _SQL["list_due"].objects(db, DueDelivery, {**chunk.parameters, "limit": limit})


def claim(
    db: Connection, notice: Notice, run: NoticeRun, chunk: NoticeChunk, due: Sequence[DueDelivery]
) -> list[ClaimedDelivery]:
    """Claim deliveries that are due, and return those to send; the others end, since they are no longer eligible.

    The values of a message are read again, at the position of its recipient. Consent, suppressions, address, expiry,
    deleted users, and whether the recipient is still in the audience are checked at this moment.
    """
    positions = {delivery.position for delivery in due if delivery.position is not None}
    found = {
        (recipient.position, recipient.user_id, recipient.dedupe_key): recipient
        for recipient in recipients.read_at(db, notice, run, positions)
    }
    audience = [found.get((delivery.position, delivery.user_id, delivery.dedupe_key)) for delivery in due]  # type: ignore[arg-type]
    values = {
        "lines": list(range(len(due))),
        "delivery_ids": [delivery.delivery_id for delivery in due],
        "in_audience": [recipient is not None for recipient in audience],
        "expires_at": run.expires_at,
        **eligibility.category_parameters(notice.category),
        **chunk.parameters,
    }
    query = _SQL["claim"].substitute(eligibility=statement("notify/eligibility", "eligibility"))
    claimed = []
    for row in query.objects(db, _ClaimRow, values):
        recipient, delivery = audience[row.line], due[row.line]
        if recipient is not None:
            claimed.append(
                ClaimedDelivery(
                    row.delivery_id,
                    recipient,
                    row.channel,
                    row.address,
                    delivery.doubts,
                    delivery.tries,
                    delivery.first_tried_at,
                )
            )
    return claimed


def find_waiting(db: Connection, chunk: NoticeChunk) -> Waiting | None:
    """Return how many deliveries of a chunk are deferred, and until when; None if none is."""
    return _SQL["find_waiting"].first(db, Waiting, chunk.parameters)


def summarize(db: Connection, run_id: int) -> list[DeferralGroup]:
    """Return the deferred deliveries of a run by why and where they wait, the largest group first."""
    return _SQL["summarize"].objects(db, DeferralGroup, {"run_id": run_id})


def count(db: Connection, run_id: int, *, error_classes: Collection[str] | None = None) -> dict[str, int]:
    """Return the deferred deliveries of a run by the error class of their last answer, of some classes or all."""
    return dict(_SQL["count"].rows(db, _class_parameters(run_id, error_classes)))


def hurry(db: Connection, run_id: int, *, error_classes: Collection[str] | None = None) -> dict[str, int]:
    """Let the deferred deliveries of a run be due now, those of some error classes or all; return how many by class."""
    return dict(_SQL["hurry"].rows(db, _class_parameters(run_id, error_classes)))


def cancel(db: Connection, run_id: int) -> None:
    """End the deferred deliveries of a run that was cancelled, except those that are being sent."""
    _SQL["cancel"].run(db, {"run_id": run_id})


def _class_parameters(run_id: int, error_classes: Collection[str] | None) -> dict[str, object]:
    return {"run_id": run_id, "error_classes": None if error_classes is None else list(error_classes)}
