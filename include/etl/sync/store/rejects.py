"""Rejects: records that could not be typed or broke a rule, each with its path and reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from psycopg.sql import SQL, Identifier

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Snapshot, Source, Window
from etl.errors import RejectMissing
from etl.sync.records.rows import Reject

_SQL = StatementFile("sync/rejects")


@dataclass(frozen=True)
class StoredReject:
    """A rejected record.

    Parameters
    ----------
    reject_id
        Its id.
    raw_id
        The raw batch that holds it.
    entity, version
        The entity that rejected it, and that entity's version.
    provider_account_id
        The account that it belongs to.
    line
        Ordinal of the page in its raw batch, from 0.
    path
        Path of the record or field in the page, such as `added[3].amount`.
    rule, reason
        The rule that it broke, and how.
    rejected_at
        When it was rejected.
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
    """Number of rejects of an entity that broke a rule.

    Parameters
    ----------
    entity, rule
        The entity and the rule.
    rejects
        The number of rejects.
    """

    entity: str
    rule: str
    rejects: int


@dataclass(frozen=True)
class RejectFilter:
    """Selects rejects of the current version of some entities.

    Parameters
    ----------
    versions
        Entity → its version; rejects of other versions are not selected.
    rule, raw_id
        Select only rejects of this rule or raw batch; None for any.
    """

    versions: dict[str, int]
    rule: str | None = None
    raw_id: int | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters that the statements bind."""
        return {
            "entities": list(self.versions),
            "versions": list(self.versions.values()),
            "rule": self.rule,
            "raw_id": self.raw_id,
        }


def replace(db: Connection, rejects: Iterable[Reject], *, raw_id: int, entity: str, version: int) -> int:
    """Store the rejects of a batch in place of earlier ones of the same version, and return their number."""
    count = 0
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    with db.transaction(), db.cursor() as cursor:
        # Without the lock, two transactions that type the same batch would not see each other's rejects and store both.
        locks.acquire_until_commit(db, f"rejects.{entity}.{version}.{raw_id}")
        _SQL["clear"].run(db, batch)
        _SQL["create_staging"].run(db)
        with cursor.copy(_SQL["copy"]) as copy:
            for reject in rejects:
                fault = reject.fault
                origin = (raw_id, entity, version, reject.provider_account_id, reject.line)
                reason = fault.reason.replace("\x00", "\\0")
                identity = (reject.record_id, reject.replaces, reject.observed_at)
                copy.write_row((*origin, fault.path, fault.rule, reason, *identity))
                count += 1
        _SQL["insert_staged"].run(db)
        _SQL["close_missing"].run(db, batch)
    return count


def count(db: Connection, *, raw_id: int, entity: str, version: int) -> int:
    """Return how many records of a batch were rejected."""
    return int(_SQL["count"].scalar(db, {"raw_id": raw_id, "entity": entity, "version": version}))


def close_loaded(db: Connection, entity: Entity, *, raw_id: int) -> int:
    """Close the rejects of records that the staged batch brought in a later state; return how many."""
    query = _SQL["close_loaded"].format(
        record_id=SQL(" || chr(31) || ").join(
            SQL("{}::text").format(Identifier("i", column.name)) for column in entity.key_columns
        ),
        same_login=SQL("target.provider_account_id = i.provider_account_id")
        if PROVIDER_ACCOUNT in entity.key
        else SQL("true"),
    )
    return db.execute(query, {"raw_id": raw_id, "entity": entity.name}).rowcount


def mark_outdated(db: Connection, entity: Entity, statement: Statement, *, raw_id: int, source: Source) -> None:
    """Mark the rows of which the staged batch has a newer record that was rejected, by the entity's statement."""
    values = {
        "raw_id": raw_id,
        "entity": entity.name,
        "feed_of_window": entity.feed_name if isinstance(source, Window) else None,
        "is_snapshot": isinstance(source, Snapshot),
    }
    statement.substitute(rejected=_SQL["open_of_batch"]).run(db, values)


def latest(db: Connection, reject_filter: RejectFilter, *, limit: int) -> list[StoredReject]:
    """Return the latest of the selected rejects, newest first.

    Parameters
    ----------
    limit
        Most rejects to return.
    """
    return _SQL["latest"].objects(db, StoredReject, {**reject_filter.parameters, "limit": limit})


def find(db: Connection, reject_id: int) -> StoredReject:
    """Return a reject.

    Raises
    ------
    RejectMissing
        If there is no reject with this id.
    """
    reject = _SQL["find"].first(db, StoredReject, {"reject_id": reject_id})
    if reject is None:
        raise RejectMissing(reject_id)
    return reject


def count_by_rule(db: Connection, reject_filter: RejectFilter) -> list[RejectCount]:
    """Return the numbers of selected rejects by entity and rule, most frequent first."""
    return _SQL["count_by_rule"].objects(db, RejectCount, reject_filter.parameters)


def replayable_batches(db: Connection, *, entity: str, version: int, raw_id: int | None) -> list[int]:
    """Return the raw batches whose rejects an entity may be able to load now, in the order in which they were sealed.

    These are the batches with rejects of this version, and the batches with rejects of another version that this
    version has not loaded.

    Parameters
    ----------
    raw_id
        Return only this batch; None for any.
    """
    values = {"entity": entity, "version": version, "raw_id": raw_id}
    return _SQL["replayable_batches"].scalars(db, values)
