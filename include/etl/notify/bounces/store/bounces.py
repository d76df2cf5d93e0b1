"""What was said against addresses: by servers while a message was sent, and by reports that came afterwards."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.notify.bounces.rule import AddressRule

_SQL = StatementFile("notify/bounces/bounces")

Rules = Mapping[str, AddressRule]
"""Name of a channel → when its addresses are ended."""

Destination = tuple[str, str]
"""Name of a channel, and where its messages go: a mail domain, or the host of a push service."""


class BounceKind(Enum):
    """What is said against an address."""

    HARD = "hard"
    """It does not exist."""
    SOFT = "soft"
    """Its mailbox takes nothing for now, or is not reached."""
    POLICY = "policy"
    """This message or its sender was refused, which says nothing about the address."""
    COMPLAINT = "complaint"
    """The recipient called the message spam."""


@dataclass(frozen=True)
class ReportedDelivery:
    """The delivery that a report is about.

    Parameters
    ----------
    delivery_id, run_id, user_id, notice, claimed_at
        Its row in the ledger, the name of its notice, and when it was claimed.
    contact_id, address
        The address that it went to; None if the user has it no more.
    is_named
        Whether the report names this address.
    """

    delivery_id: int
    run_id: int
    user_id: int
    notice: str
    claimed_at: datetime
    contact_id: int | None
    address: str | None = field(repr=False)
    is_named: bool


@dataclass(frozen=True)
class Bounce:
    """One thing that was said against an address.

    Parameters
    ----------
    kind
        As in `BounceKind`.
    source
        `server`, while the message was sent, or `report`, afterwards.
    status, detail
        Status code or error class, and what was said, without addresses.
    tried_at, recorded_at
        When its delivery was claimed, and when this was recorded.
    counts
        Whether it counts against the address; None before its hour was judged.
    accepted_at
        When the address accepted a later message; None if it did not.
    delivery_id
        Its delivery.
    """

    kind: str
    source: str
    status: str
    detail: str
    tried_at: datetime
    recorded_at: datetime
    counts: bool | None
    accepted_at: datetime | None
    delivery_id: int


def find_delivery(db: Connection, delivery_id: int, recipients: Sequence[str]) -> ReportedDelivery | None:
    """Return the mail that a report is about; None if none was sent, or it was removed at the end of its retention.

    Parameters
    ----------
    recipients
        Addresses that the report names.
    """
    values = {"delivery_id": delivery_id, "recipients": list(recipients)}
    return _SQL["find_delivery"].first(db, ReportedDelivery, values)


def record_report(db: Connection, delivery: ReportedDelivery, kind: BounceKind, *, status: str, detail: str) -> bool:
    """Record what a report says; return False if that was recorded before."""
    values = {
        "delivery_id": delivery.delivery_id,
        "run_id": delivery.run_id,
        "user_id": delivery.user_id,
        "contact_id": delivery.contact_id,
        "address": delivery.address or "",
        "kind": kind.value,
        "status": status,
        "detail": detail,
        "claimed_at": delivery.claimed_at,
    }
    return bool(_SQL["record_report"].rows(db, values))


def judge(
    db: Connection,
    rules: Rules,
    *,
    before: datetime,
    unhealthy: Collection[Destination],
    limit: int,
) -> list[tuple[int | None, bool]]:
    """Decide whether the next bounces count, and return of each its contact and whether it does.

    Parameters
    ----------
    before
        Bounces of hours that ended before it.
    unhealthy
        Destinations whose bounces do not count, whatever their number.
    """
    values = {
        "channels": list(rules),
        "wave_sizes": [rule.wave_size for rule in rules.values()],
        "wave_shares": [rule.wave_share for rule in rules.values()],
        "unhealthy_channels": [channel for channel, _ in unhealthy],
        "unhealthy_destinations": [destination for _, destination in unhealthy],
        "before": before,
        "limit": limit,
    }
    return [(contact_id, counts) for contact_id, counts in _SQL["judge"].rows(db, values)]


def end_addresses(
    db: Connection,
    rules: Rules,
    contact_ids: Collection[int],
    *,
    as_of: datetime,
    memory: timedelta,
    report_delay: timedelta,
) -> int:
    """End those of the contacts that bounced enough, and return how many.

    Parameters
    ----------
    memory
        How long bounces count.
    report_delay
        How long after a mail was accepted a report about it may still come.
    """
    values = {
        "channels": list(rules),
        "hard_days": [rule.hard_days for rule in rules.values()],
        "hard_spans": [rule.hard_span for rule in rules.values()],
        "soft_days": [rule.soft_days for rule in rules.values()],
        "soft_spans": [rule.soft_span for rule in rules.values()],
        "contact_ids": list(contact_ids),
        "as_of": as_of,
        "memory": memory,
        "report_delay": report_delay,
    }
    return _SQL["end_addresses"].run(db, values)


def count_by_run(db: Connection, run_id: int) -> dict[str, int]:
    """Return how many deliveries of a run bounced or led to a complaint, by kind."""
    return dict(_SQL["count_by_run"].rows(db, {"run_id": run_id}))


def list_by_contact(db: Connection, contact_id: int, *, limit: int) -> list[Bounce]:
    """Return what was said against an address, the latest first."""
    return _SQL["list_by_contact"].objects(db, Bounce, {"contact_id": contact_id, "limit": limit})
