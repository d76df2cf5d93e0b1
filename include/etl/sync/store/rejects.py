"""Rejects: records that could not be typed or broke a rule, each with its place and reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import statement
from etl.errors import RejectMissing
from etl.sync.records.rows import Reject


@dataclass(frozen=True)
class StoredReject:
    """A record that was left out.

    Parameters
    ----------
    reject_id
        Its id.
    raw_id
        The raw batch that holds it.
    entity, version
        What left it out.
    provider_account_id
        Whose record it is.
    line
        Ordinal of the page in its raw batch, from 0.
    path
        Place of the record or field in the page, such as `added[3].amount`.
    rule, reason
        Which rule it broke, and how.
    rejected_at
        When.
    """

    reject_id: int
    raw_id: int
    entity: str
    version: int
    provider_account_id: int
    line: int
    path: str
    rule: str
    reason: str
    rejected_at: datetime


@dataclass(frozen=True)
class RejectCount:
    """How many rejects of an entity broke a rule.

    Parameters
    ----------
    entity, rule
        Whose, and which.
    rejects
        How many.
    """

    entity: str
    rule: str
    rejects: int


@dataclass(frozen=True)
class RejectFilter:
    """Which rejects are meant: those of an entity, a rule or a raw batch; None stands for any.

    Parameters
    ----------
    versions
        Entity → its version; rejects of other versions do not count.
    """

    versions: dict[str, int]
    rule: str | None = None
    raw_id: int | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """What the statements bind."""
        return {
            "entities": list(self.versions),
            "versions": list(self.versions.values()),
            "rule": self.rule,
            "raw_id": self.raw_id,
        }


def replace(db: Connection, rejects: Iterable[Reject], *, raw_id: int, entity: str, version: int) -> int:
    """Keep the rejects of a batch, in place of those that the same version gave before, and return how many."""
    count = 0
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    with db.transaction(), db.cursor() as cursor:
        # Whoever types the same batch meanwhile would not see these, and its own would come on top of them.
        locks.acquire_until_commit(db, f"rejects.{entity}.{version}.{raw_id}")
        cursor.execute(statement("sync/rejects", "clear"), batch)
        with cursor.copy(statement("sync/rejects", "copy")) as copy:
            for reject in rejects:
                fault = reject.fault
                origin = (raw_id, entity, version, reject.provider_account_id, reject.line)
                copy.write_row((*origin, fault.path, fault.rule, fault.reason.replace("\x00", "\\0")))
                count += 1
    return count


def count(db: Connection, *, raw_id: int, entity: str, version: int) -> int:
    """Return how many records of a batch were rejected."""
    with db.cursor(row_factory=scalar_row) as cursor:
        batch = {"raw_id": raw_id, "entity": entity, "version": version}
        (rejected,) = cursor.execute(statement("sync/rejects", "count"), batch).fetchall()
    return int(rejected)


def latest(db: Connection, reject_filter: RejectFilter, *, limit: int) -> list[StoredReject]:
    """Return the latest rejects, the newest first.

    Parameters
    ----------
    limit
        Most rejects to return.
    """
    with db.cursor(row_factory=class_row(StoredReject)) as cursor:
        return cursor.execute(
            statement("sync/rejects", "latest"), {**reject_filter.parameters, "limit": limit}
        ).fetchall()


def find(db: Connection, reject_id: int) -> StoredReject:
    """Return a reject.

    Raises
    ------
    RejectMissing
        If there is none of this id.
    """
    with db.cursor(row_factory=class_row(StoredReject)) as cursor:
        reject = cursor.execute(statement("sync/rejects", "find"), {"reject_id": reject_id}).fetchone()
    if reject is None:
        raise RejectMissing(reject_id)
    return reject


def count_by_rule(db: Connection, reject_filter: RejectFilter) -> list[RejectCount]:
    """Return how many rejects there are of each entity and rule, the most frequent first."""
    with db.cursor(row_factory=class_row(RejectCount)) as cursor:
        return cursor.execute(statement("sync/rejects", "count_by_rule"), reject_filter.parameters).fetchall()


def replayable_batches(db: Connection, *, entity: str, version: int, raw_id: int | None) -> list[int]:
    """Return the raw batches with rejects that an entity may load now, in the order in which they were sealed.

    These are those of its version, and those of earlier ones that this one has not read.
    """
    values = {"entity": entity, "version": version, "raw_id": raw_id}
    with db.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/rejects", "replayable_batches"), values).fetchall()
