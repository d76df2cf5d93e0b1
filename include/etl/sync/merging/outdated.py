"""What later batches have outdated in a staged one: its records, and its rejects."""

from __future__ import annotations

import pyarrow as pa

from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.declare.source import Feed, RawOf, Recent, Snapshot, Window
from etl.sync import recent
from etl.sync.store import staging
from etl.sync.store.rejects import KnownLater

Origin = Feed | Snapshot | Window | RawOf


def find_known_later(entity: Entity, origin: Origin, moves: pa.Table, raw_id: int, *, db: Connection) -> KnownLater:
    """Return what was loaded that may be later than a batch, of the logins in its cursor moves."""
    match origin:
        case Window():
            return KnownLater(feed=entity.feed_name)
        case Snapshot():
            logins = moves[PROVIDER_ACCOUNT].to_pylist()
            return KnownLater(snapshots=staging.later_snapshots(db, entity, logins, raw_id=raw_id))
    return KnownLater()


def drop(
    entity: Entity, origin: Origin, raw_id: int, known_later: KnownLater, *, was_loaded: bool, db: Connection
) -> int:
    """Drop records of `incoming` that later batches have outdated, and return how many those were."""
    dropped = 0
    if was_loaded and entity.newest_by is None:
        dropped += staging.drop_overwritten(db, entity, raw_id=raw_id)
    match origin:
        case Window() if entity.feed_name and was_loaded:
            dropped += staging.drop_older_than_feed_on_replay(db, entity, feed=entity.feed_name, raw_id=raw_id)
        case Window() if entity.feed_name:
            dropped += staging.drop_older_than_feed(db, feed=entity.feed_name)
        case Recent():
            dropped += recent.drop_read_later(db, entity, origin, raw_id=raw_id, is_replay=was_loaded)
        case Snapshot():
            later = known_later.snapshots
            dropped += staging.drop_older_than_snapshots(db, entity, later, raw_id=raw_id, is_replay=was_loaded)
    return dropped


def drop_unconfirmed(entity: Entity, *, db: Connection) -> int:
    """Drop a window's records that only a feed with removals may bring, if any are, and return how many those were."""
    file = EntityStatements(entity)
    return file["drop_unconfirmed"].run(db) if "drop_unconfirmed" in file else 0
