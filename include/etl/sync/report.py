"""Report of a run: what it loaded, and warnings about skipped accounts and cursors that expire soon."""

import logging

from etl.db.connection import Connection
from etl.declare.entity import Entity, RawOf
from etl.declare.source import Feed
from etl.sync.store import chunks, cursors, reconciliations

_PROBLEM_COUNTS = ("accounts_refused", "accounts_stopped", "accounts_unreachable", "accounts_unreadable")
_EXPIRY_WARNING_SHARE = 11 / 12
"""Share of a cursor's lifetime after which the report warns of it."""

log = logging.getLogger(__name__)


def report(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Log and return the totals of a run; see `totals`."""
    counts = totals(entity, run_id, db=db)
    log.info("%s: run %s: %s", entity.name, run_id, counts)
    if counts["chunks_loaded"] < counts["chunks"]:
        log.error(
            "%s: run %s: %d of %d chunks were not loaded; no data is lost, and the next run catches up",
            entity.name,
            run_id,
            counts["chunks"] - counts["chunks_loaded"],
            counts["chunks"],
        )
    skipped = {name: count for name, count in counts.items() if name in _PROBLEM_COUNTS and count}
    if skipped:
        log.warning("%s: run %s skipped accounts, see etl.left_out: %s", entity.name, run_id, skipped)
    for reconciliation in reconciliations.of_run(db, entity=entity.name, run_id=run_id):
        log.warning("%s; see `sluice resync --show`", reconciliation)
    _warn_of_expiring_cursors(entity, db=db)
    return counts


def _warn_of_expiring_cursors(entity: Entity, *, db: Connection) -> None:
    if not isinstance(entity.source, Feed) or entity.source.cursor_life is None:
        return
    feed, lifetime = entity.source.name, entity.source.cursor_life
    min_age = lifetime * _EXPIRY_WARNING_SHARE
    expiring = cursors.count_expiring(db, feed=feed, min_age=min_age)
    if expiring:
        log.warning(
            "%s: %d cursors of %s have not moved for %d days and expire after %d; where etl.cursors.moved_at is that "
            "old, set value to '': the next run reads the account from the beginning, which does not change its rows",
            entity.name,
            expiring,
            feed,
            min_age.days,
            lifetime.days,
        )


def totals(entity: Entity, run_id: str, *, db: Connection) -> dict[str, int]:
    """Return the totals of a run so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the sums of `etl.sync.store.loads.LoadCounts`, and, where the run calls a provider,
        its accounts by outcome as `accounts_<outcome>`.
    """
    query_totals = chunks.totals_of_raw_batches if isinstance(entity.source, RawOf) else chunks.totals
    return query_totals(db, entity=entity.name, run_id=run_id, version=entity.version)
