"""Rejects: records that could not be typed or broke a rule, each with its path and reason.

A record is one open reject, however often it fails. It is closed when a later record of the same id is loaded, or when
its batch is typed again and the record passes.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from psycopg.sql import SQL, Identifier

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Snapshot, Source, Window
from etl.errors import RejectMissing
from etl.sync.records.rows import Reject

MAX_ROWS = 1_000
"""Rejects that one statement stores."""
_MAX_REPLACED_LENGTH = 256
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
    record_id
        Its key as sent, without the account; `sha256:` and a digest if it has none. None in rejects of before.
    line
        Ordinal of the page in its raw batch, from 0.
    path
        Path of the record or field in the page, such as `added[3].amount`.
    rule, reason
        The rule that it broke, and how.
    rejected_at, first_rejected_at
        When it was last rejected, and when first.
    failures
        How often it was rejected.
    closed_at
        When it was closed; None while it is open.
    """

    reject_id: int
    raw_id: int
    entity: str
    version: int
    provider_account_id: int
    record_id: str | None
    line: int
    path: str
    rule: str
    reason: str
    rejected_at: datetime
    first_rejected_at: datetime
    failures: int
    closed_at: datetime | None


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
    """Selects rejects of some entities.

    Parameters
    ----------
    entities
        Names of the entities.
    rule, raw_id
        Select only rejects of this rule or raw batch; None for any.
    closed
        Whether to select the closed rejects instead of the open ones.
    """

    entities: Collection[str]
    rule: str | None = None
    raw_id: int | None = None
    closed: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters that the statements bind."""
        return {
            "entities": list(self.entities),
            "rule": self.rule,
            "raw_id": self.raw_id,
            "closed": self.closed,
        }


@dataclass(frozen=True)
class ReplaceCounts:
    """Numbers of rejects of a batch.

    Parameters
    ----------
    found
        Records of the batch that were rejected.
    closed
        Open rejects of the batch that were closed, since their records are not rejected any more.
    """

    found: int
    closed: int


def replace(db: Connection, rejects: Iterable[Reject], *, raw_id: int, entity: str, version: int) -> ReplaceCounts:
    """Store the rejects of a batch, and close those that an earlier transformation of it found and this one did not."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    found = 0
    with db.transaction():
        # Without the lock, two transactions that type the same batch would close each other's rejects.
        locks.acquire_until_commit(db, f"rejects.{entity}.{raw_id}")
        begun_at = _SQL["begin"].scalar(db)
        for page in _pages(rejects):
            _SQL["upsert"].run(db, {**batch, **_columns(page)})
            found += len(page)
        closed = _SQL["close_missing"].run(db, {**batch, "begun_at": begun_at})
    return ReplaceCounts(found, closed)


def close_loaded(db: Connection, entity: Entity, *, raw_id: int) -> int:
    """Close the rejects of records that the staged batch brought in a later state; return how many."""
    query = _SQL["close_loaded"].format(
        record_id=SQL(" || chr(31) || ").join(
            SQL("{}::text").format(Identifier("i", name)) for name in entity.key if name != PROVIDER_ACCOUNT
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


def replayable_batches(db: Connection, *, entity: str, raw_id: int | None) -> list[int]:
    """Return the raw batches with open rejects of an entity, in the order in which they were sealed.

    Parameters
    ----------
    raw_id
        Return only this batch; None for any.
    """
    return _SQL["replayable_batches"].scalars(db, {"entity": entity, "raw_id": raw_id})


def _pages(rejects: Iterable[Reject]) -> Iterator[list[Reject]]:
    iterator = iter(rejects)
    while page := list(islice(iterator, MAX_ROWS)):
        yield page


def _columns(page: list[Reject]) -> dict[str, object]:
    """Return the rejects of a page as columns; of several of one record, the last."""
    last = {(reject.provider_account_id, reject.identity.record_id): reject for reject in page}.values()
    replaced = [reject.identity.replaces for reject in last]
    return {
        "provider_account_ids": [reject.provider_account_id for reject in last],
        "record_ids": [reject.identity.record_id for reject in last],
        "replaced": [key if key is None or len(key) <= _MAX_REPLACED_LENGTH else None for key in replaced],
        "observed_at": [reject.observed_at for reject in last],
        "lines": [reject.line for reject in last],
        "paths": [reject.fault.path for reject in last],
        "rules": [reject.fault.rule for reject in last],
        "reasons": [reject.fault.reason.replace("\x00", "\\0") for reject in last],
    }
