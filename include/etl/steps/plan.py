"""Plan: cut the provider accounts of a run into chunks."""

import logging

from etl.declare.entity import Entity
from etl.stores import plans
from etl.stores.warehouse import Warehouse

log = logging.getLogger(__name__)


def plan(entity: Entity, run_id: str, *, warehouse: Warehouse) -> list[int]:
    """Write the chunks of a run and return their ordinals; planning a run again replaces its plan.

    Parameters
    ----------
    entity
        What is synced.
    run_id
        The run; with the entity it identifies the plan.

    Returns
    -------
    list of int
        At most `entity.max_chunks`; empty if no provider account is active.
    """
    ordinals = plans.cut(
        warehouse,
        entity=entity.name,
        run_id=run_id,
        provider=entity.provider.name,
        page_size=entity.feed.page_size,
        size=entity.chunk_size,
        maximum=entity.max_chunks,
    )
    if ordinals:
        log.info("%s: planned %d chunks", entity.name, len(ordinals))
    else:
        log.warning(
            "%s: no active account of %s is enrolled, so there is nothing to sync; "
            "enrol one with `python -m etl link --public-token …`",
            entity.name,
            entity.provider.name,
        )
    return ordinals
