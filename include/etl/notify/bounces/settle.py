"""Settle: decides which bounces count, and ends the addresses that bounced enough."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from etl.db.connection import Connection
from etl.notify.bounces.rule import JUDGED_AFTER, MEMORY, REPORT_DELAY, RULES
from etl.notify.bounces.store import bounces
from etl.notify.bounces.store.bounces import Destination
from etl.notify.store import breakers

BATCH_SIZE = 10_000
"""Bounces that one transaction judges."""

log = logging.getLogger(__name__)


def settle_bounces(
    *, db: Connection, as_of: datetime, unhealthy: Collection[Destination] = (), batch_size: int = BATCH_SIZE
) -> int:
    """Judge the bounces of all hours that are over, end the addresses that bounced enough, and return their number.

    It looks back on purpose: when the first addresses of a wave bounce, nobody can know yet that it is one.

    Parameters
    ----------
    as_of
        Now.
    unhealthy
        Destinations of which nothing that they said counts, in addition to those whose circuit breaker is open.
    """
    unhealthy = [*unhealthy, *breakers.list_open_destinations(db)]
    judged = ended = 0
    while True:
        with db.transaction():
            batch = bounces.judge(db, RULES, before=as_of - JUDGED_AFTER, unhealthy=unhealthy, limit=batch_size)
            contact_ids = {contact_id for contact_id, counts in batch if counts and contact_id is not None}
            if contact_ids:
                ended += bounces.end_addresses(
                    db, RULES, contact_ids, as_of=as_of, memory=MEMORY, report_delay=REPORT_DELAY
                )
        judged += len(batch)
        if len(batch) < batch_size:
            break
    if judged:
        log.info("%d bounces were judged, and %d addresses ended", judged, ended)
    return ended
