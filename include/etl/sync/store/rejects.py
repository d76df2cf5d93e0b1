"""Rejects: records that could not be typed or broke a rule, each with its path and reason.

A transformation only finds them. The load of the batch stores those of the logins that it loads or quarantines, since
only then it is known whether another batch brought their records. A record is one open reject, however often it fails.
It is closed when a later record of the same id is loaded, or when its batch is loaded again and the record passes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL, Identifier

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.errors import RejectMissing
from etl.sync.store import staging
from etl.sync.store.typed_batches import REJECT_SCHEMA, TypedBatch

_STAGED_SCHEMA = pa.schema([("ordinal", pa.int64()), *REJECT_SCHEMA])
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
class KnownLater:
    """What was loaded that may be later than a batch.

    Parameters
    ----------
    feed
        If the batch is a window: the feed, of which each login may have told a later state. None otherwise.
    snapshots
        If the batch is a snapshot: logins of which a later one was loaded → when the latest of them was sealed.
    """

    feed: str | None = None
    snapshots: Mapping[int, datetime] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, object]:
        """Parameters that the statements bind."""
        return {
            "feed_of_window": self.feed,
            "snapshot_logins": list(self.snapshots.keys()),
            "snapshots_sealed_at": list(self.snapshots.values()),
        }


def replace(
    db: Connection, typed_batch: TypedBatch, logins: Collection[int], *, known_later: KnownLater | None = None
) -> None:
    """Store the rejects of some logins of a batch, and close those that an earlier version of it had and this has not.

    No other load of these logins may run at the same time.

    Parameters
    ----------
    known_later
        On the first load: rejects that this outdates are not stored. None on a later one.
    """
    batch = _parameters_of(typed_batch)
    for name in ("drop_table", "create_table"):
        _SQL[name].run(db)
    staging.copy(db, _SQL["copy"], _numbered(typed_batch.rejects(), logins), _STAGED_SCHEMA)
    if known_later is not None:
        _SQL["drop_outdated"].run(db, {**batch, **known_later.parameters})
    _SQL["upsert"].run(db, batch)
    _SQL["close_missing"].run(db, {**batch, "provider_account_ids": list(logins)})


def close_stale(db: Connection, typed_batch: TypedBatch, logins: Collection[int]) -> None:
    """Close the rejects of a batch of logins that are stale in it."""
    _SQL["close_of_logins"].run(db, {**_parameters_of(typed_batch), "provider_account_ids": list(logins)})


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


def mark_outdated(
    db: Connection, entity: Entity, statement: Statement, *, raw_id: int, known_later: KnownLater
) -> None:
    """Mark the rows of which the staged batch has a newer record that was rejected, by the entity's statement."""
    values = {"raw_id": raw_id, "entity": entity.name, **known_later.parameters}
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


def _parameters_of(typed_batch: TypedBatch) -> dict[str, object]:
    entity = typed_batch.entity
    return {"raw_id": typed_batch.raw_batch.raw_id, "entity": entity.name, "version": entity.version}


def _numbered(blocks: Iterable[pa.RecordBatch], logins: Collection[int]) -> Iterator[pa.RecordBatch]:
    """Yield the rejects of some logins, each with its ordinal."""
    judged = pa.array(logins, pa.int64())
    first = 0
    for block in blocks:
        ordinals = pa.array(range(first, first + block.num_rows), pa.int64())
        numbered = pa.RecordBatch.from_arrays([ordinals, *block.columns], schema=_STAGED_SCHEMA)
        yield numbered.filter(pc.is_in(block[PROVIDER_ACCOUNT], judged))
        first += block.num_rows
