"""Load: merge a typed batch into its core table, and move the cursors, in one transaction."""

import logging

from psycopg.rows import dict_row
from upath import UPath

from etl.declare.entity import Entity
from etl.declare.feed import Feed
from etl.errors import PermanentError
from etl.stores import cursors, incoming, loads, plans, raw, rejects
from etl.stores.loads import Counts
from etl.stores.statements import statement
from etl.stores.typed import TypedBatch
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def load(entity: Entity, raw_id: int, *, warehouse: Warehouse, root: UPath) -> Counts:
    """Load a typed batch once; loading it again changes nothing and returns the same counts.

    An account whose cursor another batch has moved on is left out, and counted as stale; the others go on.

    Raises
    ------
    RawMissing
        If there is no such raw batch.
    TypedMissing
        If it was not transformed.
    """
    batch = raw.find(warehouse, raw_id)
    with warehouse.transaction():
        raw.lock(warehouse, raw_id)
        counts = loads.find(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version)
        if counts is None:
            rejected = rejects.count(warehouse, raw_id=raw_id, entity=entity.name, version=entity.version)
            counts = _merge(entity, TypedBatch(root, entity, batch), rejected, warehouse=warehouse)
            loads.record(warehouse, counts, raw_id=raw_id, entity=entity.name, version=entity.version)
    log.info("%s: raw batch %d: %s", entity.name, raw_id, counts)
    return counts


def load_pending(entity: Entity, run_id: str, ordinal: int, *, warehouse: Warehouse, root: UPath) -> None:
    """Load the raw batches of a chunk that the entity has not loaded yet.

    A batch that cannot be loaded does not stop the others.

    Raises
    ------
    ChunkMissing
        If the run has no such chunk.
    PermanentError
        That of the first batch that could not be loaded, once the others are.
    """
    chunk = plans.find(warehouse, entity=entity.name, run_id=run_id, ordinal=ordinal)
    failed: PermanentError | None = None
    for raw_id in plans.pending_raw(
        warehouse, chunk, entity=entity.name, sources=entity.sources, version=entity.version
    ):
        try:
            load(entity, raw_id, warehouse=warehouse, root=root)
        except PermanentError as error:
            log.warning("%s: raw batch %d is left out: %s", entity.name, raw_id, error)
            failed = failed or error
    if failed is not None:
        raise failed


def _merge(entity: Entity, typed: TypedBatch, rejected: int, *, warehouse: Warehouse) -> Counts:
    raw_id = typed.batch.raw_id
    rows = incoming.fill(warehouse, entity, typed.rows())
    moving = isinstance(entity.source, Feed) and typed.batch.source == entity.source.name
    stale = 0
    if isinstance(entity.source, Feed):
        incoming.fill_moves(warehouse, typed.moves())
        cursors.lock(warehouse, feed=entity.source.name)
    else:
        # A row lock is logged, and where no cursor ever moves it would be all that is: one lock does for all.
        loads.lock_entity(warehouse, entity=entity.name)
    if moving:
        _, stale = cursors.fence(warehouse, feed=typed.batch.source)
        cursors.keep_order(warehouse, feed=typed.batch.source)
    duplicates = incoming.drop_superseded(warehouse, entity)
    merged = _run(warehouse, entity, "merge", raw_id)
    removed = {"removed": 0, "superseded": 0}
    if moving:
        removed = _run(warehouse, entity, "remove", raw_id)
        cursors.advance(warehouse, feed=typed.batch.source, raw_id=raw_id)
    elif isinstance(entity.source, Feed) and (merged["inserted"] or merged["updated"]):
        cursors.observe(warehouse, feed=entity.source.name)
    superseded = merged["superseded"] + removed["superseded"]
    changed = merged["inserted"] + merged["updated"] + removed["removed"]
    return Counts(
        read=rows + rejected,
        inserted=merged["inserted"],
        updated=merged["updated"],
        unchanged=rows - stale - duplicates - superseded - changed,
        removed=removed["removed"],
        superseded=duplicates + superseded,
        stale=stale,
        rejected=rejected,
    )


def _run(warehouse: Warehouse, entity: Entity, name: str, raw_id: int) -> dict[str, int]:
    with warehouse.cursor(row_factory=dict_row) as cursor:
        (counts,) = cursor.execute(statement(f"entities/{entity.name}", name), {"raw_id": raw_id}).fetchall()
    return counts
