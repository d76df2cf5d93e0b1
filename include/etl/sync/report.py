"""Report: what a run loaded, whatever became of its chunks."""

import logging

from etl.db.connection import Warehouse
from etl.declare.entity import Entity, RawOf
from etl.declare.source import Feed
from etl.sync.store import chunks, cursors

_TROUBLE = ("accounts_refused", "accounts_stopped", "accounts_unreachable", "accounts_unreadable")
_OLD = 11 / 12
"""Share of a cursor's life after which it is told of."""

log = logging.getLogger(__name__)


def report(entity: Entity, run_id: str, *, warehouse: Warehouse) -> dict[str, int]:
    """Log and return the totals of a run; see `totals`."""
    counts = totals(entity, run_id, warehouse=warehouse)
    log.info("%s: run %s: %s", entity.name, run_id, counts)
    if counts["chunks_loaded"] < counts["chunks"]:
        log.error(
            "%s: run %s: %d of %d chunks were not loaded; nothing of them is lost, and the next run makes up for it",
            entity.name,
            run_id,
            counts["chunks"] - counts["chunks_loaded"],
            counts["chunks"],
        )
    left_out = {name: count for name, count in counts.items() if name in _TROUBLE and count}
    if left_out:
        log.warning("%s: run %s left accounts out, see etl.left_out: %s", entity.name, run_id, left_out)
    _tell_of_old_cursors(entity, warehouse=warehouse)
    return counts


def _tell_of_old_cursors(entity: Entity, *, warehouse: Warehouse) -> None:
    if not isinstance(entity.source, Feed) or entity.source.cursor_life is None:
        return
    feed, life = entity.source.name, entity.source.cursor_life
    old = cursors.ageing(warehouse, feed=feed, age=life * _OLD)
    if old:
        log.warning(
            "%s: %d cursors of %s have not moved for %d days, and are good for %d; where etl.cursors.moved_at is that "
            "old, set value to '' and the next run reads the account anew, which leaves its rows as they are",
            entity.name,
            old,
            feed,
            (life * _OLD).days,
            life.days,
        )


def totals(entity: Entity, run_id: str, *, warehouse: Warehouse) -> dict[str, int]:
    """Return what a run loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `etl.sync.store.loads.Counts`, and provider accounts as
        `accounts_<outcome>` where the run asks a provider.
    """
    count = chunks.totals_raw if isinstance(entity.source, RawOf) else chunks.totals
    return count(warehouse, entity=entity.name, run_id=run_id, version=entity.version)
