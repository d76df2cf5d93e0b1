"""The oracle: what the servers accepted, against what the ledger says and what is promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import scalar_row, tuple_row

from etl.db.connection import Connection
from tests.integration.notify.badnight.faults import Fault
from tests.integration.notify.ledger_invariants import check_ledger

_NOT_TOLD = ("failed", "expired", "suppressed")


@dataclass(frozen=True)
class Evidence:
    """What the servers and the ledger say of a run.

    Parameters
    ----------
    fault
        What the servers did wrong.
    users
        All recipients with an address.
    accepted
        User and delivery id of each message that the servers accepted → how often.
    totals
        Counters of the run.
    state
        Of the run.
    mail
        Text of the mail that an operator gets of a run that failed; empty if there is none.
    """

    fault: Fault
    users: Sequence[int]
    accepted: Counter[tuple[int, int]]
    totals: dict[str, int]
    state: str
    mail: str


def check_night(evidence: Evidence, run_id: int, db: Connection) -> list[str]:
    """Return what contradicts a promise."""
    try:
        check_ledger(db, run_id)
    except AssertionError as error:
        return [f"counters and ledger differ: {error}"]
    return [
        *_check_messages(evidence, run_id, db),
        *_check_endings(evidence),
        *_check_addresses(db),
    ]


def _check_messages(evidence: Evidence, run_id: int, db: Connection) -> Iterator[str]:
    users, accepted = evidence.users, evidence.accepted
    with db.cursor(row_factory=tuple_row) as cursor:
        ledger = cursor.execute(
            "select user_id, delivery_id, state::text, doubts from notify.deliveries where run_id = %s", [run_id]
        ).fetchall()
    if Counter(user for user, *_ in ledger) != Counter(users):
        yield f"the ledger has {len(ledger)} deliveries of {len(users)} recipients"
    known = {(user, delivery_id) for user, delivery_id, *_ in ledger}
    for user, delivery_id in accepted.keys() - known:
        yield f"a message to user {user} carries the id of another's delivery, {delivery_id}"
    for user, delivery_id, state, doubts in ledger:
        times = accepted[user, delivery_id]
        if times > 1 + doubts:
            yield f"user {user} was told {times} times, and {doubts} doubts are recorded"
        if state == "sent" and not times:
            yield f"user {user} is recorded as told, and no server accepted it"
        if state in _NOT_TOLD and times and not doubts:
            yield f"user {user} was told, and the ledger says {state}"
        if state == "unknown" and not doubts:
            yield f"delivery {delivery_id} is unknown without a recorded doubt"
        if state in ("claimed", "deferred"):
            yield f"delivery {delivery_id} is still {state}"


def _check_endings(evidence: Evidence) -> Iterator[str]:
    fault, totals = evidence.fault, evidence.totals
    for name, is_allowed in (("failed", fault.may_fail), ("expired", fault.may_expire)):
        if totals[name] and not is_allowed:
            yield f"{totals[name]} messages are {name}"
    if totals["unknown"] > fault.max_doubts:
        yield f"{totals['unknown']} messages are unknown, more than {fault.max_doubts}"
    if evidence.state != ("failed" if fault.is_total else "done"):
        yield f"the run is {evidence.state}"
    if fault.is_total and not ("550" in evidence.mail or "PERMISSION_DENIED" in evidence.mail):
        yield "no mail tells in the servers' words that the run failed"
    if fault.is_total and totals["sent"]:
        yield f"{totals['sent']} messages were sent through servers that refuse everything"


def _check_addresses(db: Connection) -> Iterator[str]:
    for table, query in (
        ("contacts ended", "select count(*) from notify.contacts where ended_at is not null"),
        ("addresses suppressed", "select count(*) from notify.suppressions"),
    ):
        with db.cursor(row_factory=scalar_row) as cursor:
            lost = cursor.execute(query).fetchone()
        if lost:
            yield f"{lost} {table}"
