"""Report: what a run loaded, whatever became of its chunks."""

import logging

from etl.declare.entity import Entity, RawOf
from etl.stores import plans
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def report(entity: Entity, run_id: str, *, warehouse: Warehouse) -> dict[str, int]:
    """Return the totals of a run.

    Returns
    -------
    dict
        `chunks`, `chunks_loaded`, the counts of `etl.stores.loads.Counts`, and provider accounts as
        `accounts_<outcome>`.
    """
    count = plans.totals_raw if isinstance(entity.source, RawOf) else plans.totals
    totals = count(warehouse, entity=entity.name, run_id=run_id, version=entity.version)
    log.info("%s: run %s: %s", entity.name, run_id, totals)
    if totals["chunks_loaded"] < totals["chunks"]:
        log.error(
            "%s: run %s: %d of %d chunks were not loaded; their cursors stay, and the next run reads on from them",
            entity.name,
            run_id,
            totals["chunks"] - totals["chunks_loaded"],
            totals["chunks"],
        )
    return totals
