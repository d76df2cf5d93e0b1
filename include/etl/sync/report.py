"""Report: what a run loaded, whatever became of its chunks."""

import logging

from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.source import Feed
from etl.sync.store import chunks, cursors

_PROBLEM_COUNTS = ("accounts_refused", "accounts_stopped", "accounts_unreachable", "accounts_unreadable")
_EXPIRY_WARNING_SHARE = 11 / 12
"""Share of a cursor's life after which it is told of."""

log = logging.getLogger(__name__)


def report(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Log and return the totals of a run; see `totals`."""
    counts = totals(entity, run_id, db=db)
    log.info("%s: run %s: %s", entity.name, run_id, counts)
    if counts["chunks_loaded"] < counts["chunks"]:
        log.error(
            "%s: run %s: %d of %d chunks were not loaded; nothing of them is lost, and the next run makes up for it",
            entity.name,
            run_id,
            counts["chunks"] - counts["chunks_loaded"],
            counts["chunks"],
        )
    left_out = {name: count for name, count in counts.items() if name in _PROBLEM_COUNTS and count}
    if left_out:
        log.warning("%s: run %s left accounts out, see etl.left_out: %s", entity.name, run_id, left_out)
    _warn_of_expiring_cursors(entity, db=db)
    return counts


def _warn_of_expiring_cursors(entity: Entity, *, db: Connection) -> None:
    if not isinstance(entity.source, Feed) or entity.source.cursor_life is None:
        return
    feed, life = entity.source.name, entity.source.cursor_life
    old = cursors.count_expiring(db, feed=feed, min_age=life * _EXPIRY_WARNING_SHARE)
    if old:
        log.warning(
            "%s: %d cursors of %s have not moved for %d days, and are good for %d; where etl.cursors.moved_at is that "
            "old, set value to '' and the next run reads the account anew, which leaves its rows as they are",
            entity.name,
            old,
            feed,
            (life * _EXPIRY_WARNING_SHARE).days,
            life.days,
        )


def totals(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Return what a run loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `etl.sync.store.loads.Counts`, and provider accounts as
        `accounts_<outcome>` where the run asks a provider.
    """
    count = chunks.totals_of_raw_batches if isinstance(entity.source, RawOf) else chunks.totals
    return count(db, entity=entity.name, run_id=run_id, version=entity.version)
