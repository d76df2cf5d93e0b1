"""Planning of a run: its provider accounts or raw batches, divided into chunks."""

import logging
from datetime import UTC

from etl.chunking import DayRange
from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.source import Feed, Snapshot, Window
from etl.errors import NotBackfillable
from etl.sync.store import chunks

log = logging.getLogger(__name__)


def plan(entity: Entity, run_id: str, *, db: Connection, days: DayRange | None = None) -> list[int]:
    """Write the chunks of a run and return their ordinals; planning again replaces the earlier plan.

    Parameters
    ----------
    entity
        The entity to sync.
    run_id
        The run; with the entity it identifies the plan.
    days
        The window of a backfill; None to read the entity's own source.

    Returns
    -------
    list of int
        At most `entity.max_chunks`; empty if there is nothing to do.

    Raises
    ------
    NotBackfillable
        If the entity has no way to read past days.
    """
    if isinstance(entity.source, RawOf):
        return _plan_raw_batches(entity, run_id, db=db)
    source = source_of(entity, days)
    ordinals = chunks.plan_account_chunks(
        db,
        entity=entity.name,
        run_id=run_id,
        provider=entity.provider.name,
        days=days,
        page_size=source.page_size,
        size=entity.chunk_size,
        maximum=entity.max_chunks,
    )
    if ordinals:
        log.info("%s: planned %d chunks of %s", entity.name, len(ordinals), days or source.name)
    else:
        _warn_of_empty_plan(entity, db=db)
    return ordinals


def source_of(entity: Entity, days: DayRange | None) -> Feed | Snapshot | Window:
    """Return the source that a chunk is read from: the entity's own, or its window if days are given.

    Raises
    ------
    NotBackfillable
        If the entity has no way to read past days, or is not read from a provider at all.
    """
    source = entity.source if days is None else entity.window
    if source is None or isinstance(source, RawOf):
        raise NotBackfillable(entity.name)
    return source


def _warn_of_empty_plan(entity: Entity, *, db: Connection) -> None:
    waiting = chunks.find_waiting(db, provider=entity.provider.name)
    if waiting.first_try_at is None:
        log.warning(
            "%s: no login of %s is active, so there is nothing to sync; `sluice logins list` shows those that are "
            "stopped, and `sluice link --provider %s --user ID` with a token adds one",
            entity.name,
            entity.provider.name,
            entity.provider.name,
        )
        return
    log.warning(
        "%s: no login of %s is due, so there is nothing to sync: %d need a login, and the first is tried again at "
        "%s UTC; `sluice logins resume ID` lets the next run ask one at once",
        entity.name,
        entity.provider.name,
        waiting.logins,
        f"{waiting.first_try_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
    )


def _plan_raw_batches(entity: Entity, run_id: str, *, db: Connection) -> list[int]:
    ordinals = chunks.plan_batch_chunks(
        db,
        entity=entity.name,
        run_id=run_id,
        sources=entity.sources,
        version=entity.version,
        size=entity.chunk_size,
        maximum=entity.max_chunks,
    )
    log.info("%s: planned %d chunks of raw batches", entity.name, len(ordinals))
    return ordinals
