"""Merge: bring the core table to what a typed batch says; what load and replay share.

A feed's batch that was never loaded moves the cursors. Loaded again, it moves none, and each record counts as late as
it did the first time, so that nothing which came after it is undone.
"""

import logging
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.sql import SQL

from etl.db.connection import Warehouse
from etl.db.statements import spliced, statement, statements
from etl.declare.entity import Entity
from etl.declare.source import Feed, RawOf, Snapshot, Window
from etl.sync.records.duplicates import Survey
from etl.sync.store import cursors, loads, staging
from etl.sync.store.loads import Counts
from etl.sync.store.typed_batches import TypedBatch

log = logging.getLogger(__name__)

MOST_READ = 2
"""Rows of the core table that are read for each record of a batch, rather than looked up by their keys."""

Origin = Feed | Snapshot | Window | RawOf


@dataclass(frozen=True)
class Prepared:
    """A batch that lies in `incoming`, ready to be applied.

    Parameters
    ----------
    again
        Whether it was loaded before.
    rows
        Rows that it brought.
    removes
        Whether any of them tells that a record is gone.
    stale, superseded
        Those of them that were left out already.
    """

    again: bool
    rows: int
    removes: bool
    stale: int
    superseded: int


@dataclass(frozen=True)
class Applied:
    """What a batch did to the core table.

    Parameters
    ----------
    counts
        What became of its records.
    ended
        Keys of the rows that ended though none of its records tells so.
    """

    counts: Counts
    ended: list[tuple[Any, ...]]


def prepare(entity: Entity, typed: TypedBatch, *, warehouse: Warehouse) -> Prepared:
    """Put the rows of a batch that may still count into `incoming`, and keep other loads of its rows out."""
    raw_id = typed.batch.raw_id
    origin = entity.origin(typed.batch.source)
    again = loads.loaded(warehouse, raw_id=raw_id, entity=entity.name)
    survey = Survey(entity)
    staging.fill(warehouse, entity, survey.passing(typed.rows()))
    if entity.feed is None:
        # A row lock is logged, and where no cursor ever moves it would be all that is: one lock does for all.
        loads.lock_entity(warehouse, entity=entity.name)
    else:
        staging.fill_moves(warehouse, typed.moves())
        cursors.lock(warehouse, feed=entity.feed)
    left_out = _order(origin, raw_id, survey, again=again, warehouse=warehouse) if isinstance(origin, Feed) else {}
    repeated_of_these = sum(survey.repeated[account] for account in left_out)
    stale = sum(left_out.values()) + repeated_of_these
    superseded = survey.repeated.total() - repeated_of_these
    if survey.may_repeat:
        superseded += staging.drop_superseded(warehouse, entity)
    superseded += _drop_late(entity, origin, raw_id, again=again, warehouse=warehouse)
    return Prepared(again, survey.rows, survey.removes, stale, superseded)


def apply(entity: Entity, typed: TypedBatch, prepared: Prepared, *, rejected: int, warehouse: Warehouse) -> Applied:
    """Merge `incoming` into the core table, and move the cursors if a feed's batch was never loaded before."""
    raw_id = typed.batch.raw_id
    origin = entity.origin(typed.batch.source)
    merged = _merge(entity, prepared.rows, raw_id, warehouse=warehouse)
    removed = {"removed": 0, "superseded": 0}
    ended: list[tuple[Any, ...]] = []
    if isinstance(origin, Feed):
        if prepared.removes:
            removed = _run(warehouse, statement(f"entities/{entity.name}", "remove"), raw_id)
        ended = _end_untold(entity, typed, origin, warehouse=warehouse)
        if not prepared.again:
            cursors.advance(warehouse, feed=origin.name, raw_id=raw_id)
    elif isinstance(origin, Window) and entity.feed and (merged["inserted"] or merged["updated"]):
        cursors.observe(warehouse, feed=entity.feed)
    changed = merged["inserted"] + merged["updated"] + removed["removed"]
    superseded = prepared.superseded + merged["superseded"] + removed["superseded"]
    counts = Counts(
        read=prepared.rows + rejected,
        inserted=merged["inserted"],
        updated=merged["updated"],
        unchanged=prepared.rows - prepared.stale - superseded - changed,
        removed=removed["removed"],
        superseded=superseded,
        stale=prepared.stale,
        rejected=rejected,
    )
    return Applied(counts, ended)


def _drop_late(entity: Entity, origin: Origin, raw_id: int, *, again: bool, warehouse: Warehouse) -> int:
    """Drop what later batches have told otherwise, and return how many rows those were."""
    dropped = staging.drop_overtaken(warehouse, entity, raw_id=raw_id) if again else 0
    match origin:
        case Window() if entity.feed and again:
            dropped += staging.drop_told_since_again(warehouse, entity, feed=entity.feed, raw_id=raw_id)
        case Window() if entity.feed:
            dropped += staging.drop_told_since(warehouse, feed=entity.feed)
        case Snapshot() if not again:
            dropped += staging.drop_read_since(warehouse, entity, raw_id=raw_id)
    return dropped


def _order(feed: Feed, raw_id: int, survey: Survey, *, again: bool, warehouse: Warehouse) -> dict[int, int]:
    """Give a batch its place in the feed, and return how many rows there are of each account that has none."""
    if again:
        left_out = cursors.fence_again(warehouse, raw_id=raw_id)
        cursors.keep_order_again(warehouse, raw_id=raw_id)
        return left_out
    left_out = cursors.fence(warehouse, feed=feed.name, raw_id=raw_id)
    cursors.keep_order(warehouse, feed=feed.name, raw_id=raw_id, earliest=survey.earliest)
    return left_out


def _end_untold(entity: Entity, typed: TypedBatch, feed: Feed, *, warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """End rows whose end no record tells, as far as the entity knows such rows, and return their keys."""
    known = statements(f"entities/{entity.name}")
    wanted = ("settle", "reconcile") if typed.rereads() else ("settle",)
    values = {"raw_id": typed.batch.raw_id, "feed": feed.name, "version": entity.version}
    keys: list[tuple[Any, ...]] = []
    for name in (name for name in wanted if name in known):
        ended = warehouse.execute(known[name], values).fetchall()
        keys += ended
        if ended:
            log.info("%s: raw batch %d: %d rows ended (%s)", entity.name, typed.batch.raw_id, len(ended), name)
    return keys


def _merge(entity: Entity, rows: int, raw_id: int, *, warehouse: Warehouse) -> dict[str, int]:
    """Merge what differs from the rows that are there, and return its counts.

    Where an entity's SQL file knows both ways to find these, they are read at once if few for a batch of so many rows.
    """
    file = statements(f"entities/{entity.name}")
    with staging.looked_up(warehouse):
        if "known_of_accounts" not in file:
            return _run(warehouse, file["merge"], raw_id)
        if not staging.few_held(warehouse, entity, most=MOST_READ * rows):
            return _run(warehouse, spliced(file["merge"], known=file["known_by_key"]), raw_id)
        with staging.read_at_once(warehouse):
            return _run(warehouse, spliced(file["merge"], known=file["known_of_accounts"]), raw_id)


def _run(warehouse: Warehouse, query: SQL | bytes, raw_id: int) -> dict[str, int]:
    with warehouse.cursor(row_factory=dict_row) as cursor:
        (counts,) = cursor.execute(query, {"raw_id": raw_id}).fetchall()
    return counts
