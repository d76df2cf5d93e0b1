"""Reconciliations: rows end that a feed, read again from its beginning, does not contain any more.

A row ends only on evidence, which the statement `find_absent` of its entity weighs, and which a login without a promise
of its provider lacks. If too many rows of a login would end, they wait until a person decides.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.declare.entity import Entity

ALWAYS_TOLERATED_ABSENCES = 5
"""Rows that may end without a person's approval, however few rows a login has: a handful is found again by hand."""

MAX_REASONS = 10
"""Reasons for which rows of a login are kept that `skipped` names, such as accounts that the read does not mention."""

State = Literal["applied", "pending", "approved", "revoked"]

log = logging.getLogger(__name__)
_SQL = StatementFile("sync/reconciliations")


@dataclass(frozen=True)
class Reconciliation:
    """What became of the rows of a login that a full read did not contain.

    Parameters
    ----------
    raw_id
        The raw batch of the read.
    entity
        The entity of the rows.
    provider_account_id
        The login.
    state
        `applied`: the absent rows ended. `pending`: they wait. `approved`: a person had them ended. `revoked`: a person
        had them brought back, or kept.
    live
        Live rows of the login before; after a list of recent days, of those days.
    absent
        Rows that the read should have contained, and did not.
    skipped
        Which rows were not reconciled, and why; None if all were.
    reconciled_at, decided_at
        When the read was loaded, and when a person decided.
    """

    raw_id: int
    entity: str
    provider_account_id: int
    state: State
    live: int
    absent: int
    skipped: str | None
    reconciled_at: datetime
    decided_at: datetime | None

    def __str__(self) -> str:
        """Return it as one line for logs and terminals."""
        fate = {"applied": "ended", "approved": "ended", "pending": "wait for approval", "revoked": "were kept"}
        ended = f"{self.absent:,} of {self.live:,} live rows are absent and {fate[self.state]}" if self.absent else ""
        skipped = f"not reconciled: {self.skipped}" if self.skipped else ""
        outcome = "; ".join(filter(None, (ended, skipped))) or "no row is absent"
        return f"{self.entity}: raw batch {self.raw_id}: provider account {self.provider_account_id}: {outcome}"


@dataclass(frozen=True)
class _FullRead:
    """A login whose feed was read in full, and its absent rows.

    Parameters
    ----------
    provider_account_id
        The login.
    state
        State of its reconciliation by this batch; None if there was none.
    ended_before
        Rows that this reconciliation ended before.
    absent
        Other rows that it would end.
    is_disputed
        Whether a person brought any of these back after an earlier read.
    skipped
        Which rows are kept, and why.
    """

    provider_account_id: int
    state: State | None
    ended_before: int
    absent: int
    is_disputed: bool
    skipped: str | None


def must_wait(entity: Entity, *, live: int, absent: int) -> bool:
    """Return whether so many rows of a login are absent that a person must approve their end."""
    return absent > max(ALWAYS_TOLERATED_ABSENCES, entity.tolerated_absences * live)


class Statements(Protocol):
    """Statements by name."""

    def __getitem__(self, name: str) -> Statement:
        """Return a statement."""


def close_absent(
    db: Connection,
    entity: Entity,
    statements: Statements,
    *,
    raw_id: int,
    create_full_reads: Statement | None = None,
) -> list[tuple[Any, ...]]:
    """End the rows that the staged full reads lack, as far as their reconciliations allow; return the keys.

    Parameters
    ----------
    statements
        The entity's, with `find_absent`, `count_live` and `close_absent`.
    create_full_reads
        Creates the table of the full reads; None for those of a feed.
    """
    values = {"raw_id": raw_id, "entity": entity.name, "version": entity.version}
    _SQL["drop_tables"].run(db)
    (create_full_reads or _SQL["create_full_reads"]).run(db, values)
    _SQL["create_absent_rows"].run(db)
    statements["find_absent"].run(db, values)
    _SQL["keep_restored_rows"].run(db, values)
    live = _by_login(statements["count_live"].rows(db, values))
    unexpected = _by_login(_SQL["count_unexpected"].rows(db, values))
    for read in _SQL["summarize"].objects(db, _FullRead, {**values, "reasons": MAX_REASONS}):
        login = read.provider_account_id
        _record(db, entity, read, raw_id=raw_id, live=live[login], unexpected=unexpected[login])
    _SQL["choose_rows"].run(db, values)
    _SQL["record_ended_rows"].run(db, values)
    return statements["close_absent"].rows(db, values)


def _by_login(rows: Iterable[tuple[Any, ...]]) -> dict[int, dict[str, int]]:
    """Return numbers of rows by login and account; those of a feed are of logins only, each as one account."""
    numbers: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for login, *account, number in rows:
        numbers[login]["".join(account)] = number
    return numbers


def _record(
    db: Connection,
    entity: Entity,
    read: _FullRead,
    *,
    raw_id: int,
    live: Mapping[str, int],
    unexpected: Mapping[str, int],
) -> None:
    """Record the reconciliation of a login, unless a person decided it or is about to.

    Parameters
    ----------
    live
        Live rows by account.
    unexpected
        New absent rows that do not vanish by nature, as pending rows of a list do: only these make a person decide, if
        they are many of the login or of an account.
    """
    if read.state not in (None, "applied"):
        return
    all_live = sum(live.values()) + read.ended_before
    absent = read.ended_before + read.absent
    judged = [(all_live, sum(unexpected.values()))] if unexpected else []
    judged += [(live.get(account, 0) + read.ended_before, number) for account, number in unexpected.items()]
    is_much = any(must_wait(entity, live=rows, absent=read.ended_before + number) for rows, number in judged)
    waits = is_much or (read.absent > 0 and read.is_disputed)
    reconciliation = {
        "raw_id": raw_id,
        "entity": entity.name,
        "provider_account_id": read.provider_account_id,
        "state": "pending" if waits else "applied",
        "live": all_live,
        "absent": absent,
        "skipped": read.skipped,
    }
    _SQL["record"].run(db, reconciliation)
    if waits:
        log.warning(
            "%s: raw batch %d: login %d: %d of %d live rows are absent; they wait, see `sluice resync --show`",
            entity.name,
            raw_id,
            read.provider_account_id,
            absent,
            all_live,
        )
    if read.skipped:
        log.warning(
            "%s: raw batch %d: login %d: not reconciled: %s",
            entity.name,
            raw_id,
            read.provider_account_id,
            read.skipped,
        )


def latest(db: Connection, *, limit: int) -> list[Reconciliation]:
    """Return the latest reconciliation of each login and entity: first those that wait, then the latest."""
    return _SQL["latest"].objects(db, Reconciliation, {"limit": limit})


def count_pending(db: Connection) -> int:
    """Return how many logins have rows whose end waits for a person."""
    return int(_SQL["count_pending"].scalar(db))


def of_run(db: Connection, *, entity: str, run_id: str) -> list[Reconciliation]:
    """Return the reconciliations of a run that wait, or that left something out."""
    return _SQL["of_run"].objects(db, Reconciliation, {"entity": entity, "run_id": run_id})


def to_approve(db: Connection, provider_account_id: int) -> list[Reconciliation]:
    """Return the reconciliations of a login that wait, at most one per entity."""
    return _SQL["to_approve"].objects(db, Reconciliation, {"provider_account_id": provider_account_id})


def to_revoke(db: Connection, provider_account_id: int) -> list[Reconciliation]:
    """Return the latest reconciliation of a login that ended rows or would end them, at most one per entity."""
    return _SQL["to_revoke"].objects(db, Reconciliation, {"provider_account_id": provider_account_id})


def decide(db: Connection, reconciliation: Reconciliation, state: State) -> None:
    """Record what a person decided."""
    _SQL["decide"].run(
        db,
        {
            "raw_id": reconciliation.raw_id,
            "entity": reconciliation.entity,
            "provider_account_id": reconciliation.provider_account_id,
            "state": state,
        },
    )
