"""Interruptions: steps that began and did not end, since their process was killed or ran out of memory.

After two deaths a step processes each login by itself and names it first. If the process dies again, that login is the
culprit, and is left out, so that the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from psycopg.pq import TransactionStatus

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.store import quarantines

MAX_DEATHS = 2
"""Deaths after which a step processes one login at a time: the first may be chance, as a restart of the machine is."""

REASON = "its pages killed the process twice"
"""Why a culprit is left out."""

_SQL = StatementFile("sync/interruptions")


class Step(Enum):
    """Steps that are watched."""

    DOWNLOAD = "download"
    """Its subject is a chunk."""
    TRANSFORM = "transform"
    """Its subject is a raw batch."""


@dataclass(frozen=True)
class History:
    """What became of the earlier tries of a step.

    Parameters
    ----------
    deaths
        How many began and did not end.
    culprits
        Logins that killed the process, and are left out.
    """

    deaths: int
    culprits: list[int]


@dataclass(frozen=True)
class Watch:
    """A step that is being watched.

    Parameters
    ----------
    history
        What became of its earlier tries.
    """

    history: History
    _db: Connection
    _subject: dict[str, object]

    @property
    def culprits(self) -> frozenset[int]:
        """Logins that killed the process, and are left out."""
        return frozenset(self.history.culprits)

    @property
    def is_one_by_one(self) -> bool:
        """Whether each login is processed by itself, and named by `suspect` first."""
        return self.history.deaths >= MAX_DEATHS

    def suspect(self, provider_account_id: int | None) -> None:
        """Name the login that is processed next; None if it is none any more."""
        _SQL["suspect"].run(self._db, {**self._subject, "suspect": provider_account_id})


@contextmanager
def watch(db: Connection, step: Step, subject_id: int, *, entity: str) -> Iterator[Watch]:
    """Watch a step until the block ends; if that never happens, or memory runs out, the next try knows of it.

    Inside a transaction nothing is watched, since what it writes ends with the process.
    """
    if db.info.transaction_status is not TransactionStatus.IDLE:
        yield Watch(History(0, []), db, {"step": step.value, "subject_id": None, "entity": entity})
        return
    subject: dict[str, object] = {"step": step.value, "subject_id": subject_id, "entity": entity}
    (history,) = _SQL["begin"].objects(db, History, subject)
    try:
        yield Watch(history, db, subject)
    except MemoryError:
        raise
    except BaseException:
        # The next try must know the culprits, but this one has not died.
        _SQL["release" if history.deaths else "end"].run(db, subject)
        raise
    _SQL["end"].run(db, subject)


def quarantine(db: Connection, raw_id: int, provider_account_id: int, *, entity: str) -> None:
    """Record a login whose pages of a raw batch are not typed, since they killed the process."""
    values = {"raw_id": raw_id, "provider_account_id": provider_account_id, "entity": entity, "reason": REASON}
    with db.transaction():
        _SQL["record_left_out"].run(db, values)
        quarantines.record_killed(db, [provider_account_id], raw_id=raw_id, entity=entity, reason=REASON)


def remove_old(db: Connection, *, before: datetime) -> int:
    """Forget steps that were last tried before an instant, and return their number."""
    return _SQL["remove_old"].run(db, {"before": before})
