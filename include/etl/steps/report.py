"""Report: what a run loaded, whatever became of its chunks."""

import logging

from etl.declare.entity import Entity, RawOf
from etl.stores import plans
from etl.stores.warehouse import Warehouse

_TROUBLE = ("accounts_refused", "accounts_stopped", "accounts_unreachable", "accounts_unreadable")

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
    return counts


def totals(entity: Entity, run_id: str, *, warehouse: Warehouse) -> dict[str, int]:
    """Return what a run loaded so far.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `etl.stores.loads.Counts`, and provider accounts as
        `accounts_<outcome>` where the run asks a provider.
    """
    count = plans.totals_raw if isinstance(entity.source, RawOf) else plans.totals
    return count(warehouse, entity=entity.name, run_id=run_id, version=entity.version)
