"""Interruptions: steps that began and did not end, since their process was killed or ran out of memory.

After two deaths a step processes each login by itself and names it first. If the process dies again, that login is the
culprit: it is quarantined and left out, so that the others go on. The next run tries it again, by itself and after the
others, so that it costs one death at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import psycopg
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
    killers
        Logins that killed the process of an earlier run, and are quarantined.
    """

    deaths: int
    culprits: list[int]
    killers: list[int]


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

    def is_suspected(self, provider_account_id: int) -> bool:
        """Return whether a login is processed by itself, and named by `suspect` first."""
        return self.history.deaths >= MAX_DEATHS or provider_account_id in self.history.killers

    @property
    def is_any_suspected(self) -> bool:
        """Whether any login is processed by itself."""
        return self.history.deaths >= MAX_DEATHS or not self.culprits.issuperset(self.history.killers)

    def suspect(self, provider_account_id: int | None) -> None:
        """Name the login that is processed next; None if it is none any more."""
        _SQL["suspect"].run(self._db, {**self._subject, "suspect": provider_account_id})


@contextmanager
def watch(db: Connection, step: Step, subject_id: int, *, entity: str) -> Iterator[Watch]:
    """Watch a step until the block ends; if that never happens, or memory runs out, the next try knows of it.

    Inside a transaction nothing is watched, since what it writes ends with the process.
    """
    if db.info.transaction_status is not TransactionStatus.IDLE:
        yield Watch(History(0, [], []), db, {"step": step.value, "subject_id": None, "entity": entity})
        return
    subject: dict[str, object] = {"step": step.value, "subject_id": subject_id, "entity": entity}
    (history,) = _SQL["begin"].objects(db, History, subject)
    try:
        yield Watch(history, db, subject)
    except MemoryError:
        raise
    except BaseException:
        # The next try must know the culprits, but this one has not died. The warehouse may be gone by now, whose error
        # must not hide the one that is raised.
        with suppress(psycopg.Error):
            _SQL["release" if history.deaths else "end"].run(db, subject)
        raise
    _SQL["end"].run(db, subject)


def quarantine(
    db: Connection, provider_account_id: int, *, entity: str, source: str, raw_id: int | None = None
) -> None:
    """Record a login whose pages killed the process, and are left out.

    Parameters
    ----------
    source
        The source of the pages.
    raw_id
        The raw batch whose transformation they killed; None if it was the download.
    """
    left_out = {"raw_id": raw_id, "provider_account_id": provider_account_id, "reason": REASON}
    with db.transaction():
        _SQL["record_left_out"].run(db, left_out)
        quarantines.record_killed(db, provider_account_id, entity=entity, source=source, raw_id=raw_id, reason=REASON)


def remove_old(db: Connection, *, before: datetime) -> int:
    """Forget steps that were last tried before an instant, and return their number."""
    return _SQL["remove_old"].run(db, {"before": before})
