"""Restores of the database from a backup, after which its ledger does not know what was sent since the backup."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import RetryAfter
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.recipients import Recipient
from etl.notify.store.runs import NoticeRun

_SQL = StatementFile("notify/restores")

ID_GAP = 1_000_000_000
"""Ids of deliveries that are skipped after a restore: more than were given out between a backup and its restore."""
_CHECK_DELAY = timedelta(minutes=1)
_REASON = "The database was restored from a backup, and this run may have gone on after the backup."


class LedgerUntrusted(RetryAfter):
    """The database was restored from a backup, and nobody has said from when on its ledger is complete."""

    def __init__(self, restored_at: datetime) -> None:
        super().__init__(
            f"the database was restored from a backup at {restored_at:%Y-%m-%d %H:%M} UTC, and its ledger does not "
            "know what was sent after the backup; nothing is planned or sent until `sluice notify trust --since TIME`, "
            "see docs/deploy.md, Backup and restore.",
            _CHECK_DELAY,
        )


def hold(db: Connection) -> list[int]:
    """Record that the database was just restored, hold all runs that have not ended, and return them."""
    with db.transaction():
        last_delivery_id = _SQL["add"].scalar(db)
        _SQL["skip_ids"].scalar(db, {"last_delivery_id": last_delivery_id, "gap": ID_GAP})
        return _SQL["hold_runs"].scalars(db, {"reason": _REASON})


def require_trusted(db: Connection) -> None:
    """Raise `LedgerUntrusted` if the database was restored, and nobody has confirmed that since."""
    for restored_at in _SQL["find_unconfirmed"].scalars(db):
        raise LedgerUntrusted(restored_at)


def confirm(db: Connection, since: datetime) -> bool:
    """Record from when on the ledger is complete; return False if no restore waits for that."""
    return bool(_SQL["confirm"].scalars(db, {"since": since}))


def find_trusted_since(db: Connection) -> datetime | None:
    """Return the instant before which the ledger may be incomplete; None if the database was never restored."""
    since: datetime | None = _SQL["find_trusted_since"].scalar(db)
    return since


def list_held(db: Connection) -> list[int]:
    """Return the runs that are held."""
    return _SQL["list_held"].scalars(db)


def is_lost(db: Connection, delivery_ids: Collection[int]) -> set[int]:
    """Return those of the ids that were given to deliveries between the last backup and its restore."""
    last = next(iter(_SQL["find_last_delivery"].scalars(db)), None)
    return set() if last is None else {each for each in delivery_ids if last < each <= last + ID_GAP}


def mark_known(db: Connection, delivery_ids: Collection[int]) -> int:
    """Mark deliveries of the backup as sent that had not ended, or were in doubt; return how many."""
    return int(_SQL["mark_known"].scalar(db, {"delivery_ids": list(delivery_ids)}))


def list_users(db: Connection, addresses: Collection[str]) -> set[int]:
    """Return the users who have, or had, any of these mail addresses, in lower case."""
    return set(_SQL["list_users"].scalars(db, {"addresses": list(addresses)}))


def add_lost(db: Connection, run: NoticeRun, chunk: NoticeChunk, recipients: Sequence[Recipient], *, state: str) -> int:
    """Add deliveries by mail that are lost from the ledger; the caller must hold the chunk's lock. Return how many.

    Parameters
    ----------
    state
        `sent`, or `unknown` if another run may have sent the message.
    """
    values = {
        "run_id": run.run_id,
        "notice_id": run.notice_id,
        "ordinal": chunk.ordinal,
        "attempt": chunk.attempt,
        "state": state,
        "user_ids": [recipient.user_id for recipient in recipients],
        "dedupe_keys": [recipient.dedupe_key for recipient in recipients],
    }
    return int(_SQL["add_lost"].scalar(db, values))
