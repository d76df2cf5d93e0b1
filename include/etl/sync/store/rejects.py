"""Rejects: records that could not be typed or broke a rule, each with its place and reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from etl.db import locks
from etl.db.connection import Warehouse
from etl.db.statements import statement
from etl.errors import RejectMissing
from etl.sync.records.rows import Reject


@dataclass(frozen=True)
class KeptReject:
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
class Tally:
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
class Narrowed:
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
    def values(self) -> dict[str, object]:
        """What the statements bind."""
        return {
            "entities": list(self.versions),
            "versions": list(self.versions.values()),
            "rule": self.rule,
            "raw_id": self.raw_id,
        }


def replace(warehouse: Warehouse, rejects: Iterable[Reject], *, raw_id: int, entity: str, version: int) -> int:
    """Keep the rejects of a batch, in place of those that the same version gave before, and return how many."""
    count = 0
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    with warehouse.transaction(), warehouse.cursor() as cursor:
        # Whoever types the same batch meanwhile would not see these, and its own would come on top of them.
        locks.until_commit(warehouse, f"rejects.{entity}.{version}.{raw_id}")
        cursor.execute(statement("sync/rejects", "clear"), batch)
        with cursor.copy(statement("sync/rejects", "copy")) as copy:
            for reject in rejects:
                fault = reject.fault
                origin = (raw_id, entity, version, reject.provider_account_id, reject.line)
                copy.write_row((*origin, fault.path, fault.rule, fault.reason.replace("\x00", "\\0")))
                count += 1
    return count


def count(warehouse: Warehouse, *, raw_id: int, entity: str, version: int) -> int:
    """Return how many records of a batch were rejected."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        batch = {"raw_id": raw_id, "entity": entity, "version": version}
        (rejected,) = cursor.execute(statement("sync/rejects", "count"), batch).fetchall()
    return int(rejected)


def latest(warehouse: Warehouse, narrowed: Narrowed, *, limit: int) -> list[KeptReject]:
    """Return the latest rejects, the newest first.

    Parameters
    ----------
    limit
        Most rejects to return.
    """
    with warehouse.cursor(row_factory=class_row(KeptReject)) as cursor:
        return cursor.execute(statement("sync/rejects", "latest"), {**narrowed.values, "limit": limit}).fetchall()


def find(warehouse: Warehouse, reject_id: int) -> KeptReject:
    """Return a reject.

    Raises
    ------
    RejectMissing
        If there is none of this id.
    """
    with warehouse.cursor(row_factory=class_row(KeptReject)) as cursor:
        reject = cursor.execute(statement("sync/rejects", "find"), {"reject_id": reject_id}).fetchone()
    if reject is None:
        raise RejectMissing(reject_id)
    return reject


def tally(warehouse: Warehouse, narrowed: Narrowed) -> list[Tally]:
    """Return how many rejects there are of each entity and rule, the most frequent first."""
    with warehouse.cursor(row_factory=class_row(Tally)) as cursor:
        return cursor.execute(statement("sync/rejects", "tally"), narrowed.values).fetchall()


def batches(warehouse: Warehouse, *, entity: str, version: int, raw_id: int | None) -> list[int]:
    """Return the raw batches with rejects that an entity may load now, in the order in which they were sealed.

    These are those of its version, and those of earlier ones that this one has not read.
    """
    values = {"entity": entity, "version": version, "raw_id": raw_id}
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(statement("sync/rejects", "batches"), values).fetchall()
