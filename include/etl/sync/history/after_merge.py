"""Statements that an entity may have, and that run after its merge, while the batch is staged."""

import logging
from collections import Counter
from typing import Any

from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.sync.history import corrections
from etl.sync.logins.store import replaced_accounts

log = logging.getLogger(__name__)


def close_missing(db: Connection, entity: Entity, *, raw_id: int) -> list[tuple[Any, ...]]:
    """Close the rows that a login's snapshot no longer has, by the statement `close_missing`, and return their keys.

    `incoming` must hold all records of the snapshot, and `incoming_cursors` its logins. Rows that the snapshot lacks
    without proving that they ended stay as they are; the log says how many, and why.
    """
    file = EntityStatements(entity)
    if "close_missing" not in file:
        return []
    missing = file["close_missing"].rows(db, {"raw_id": raw_id, "version": entity.version})
    closed_keys = [key for *key, kept_for in missing if kept_for is None]
    if closed_keys:
        log.info("%s: raw batch %d: %d rows closed (close_missing)", entity.name, raw_id, len(closed_keys))
    for reason, count in sorted(Counter(kept_for for *_, kept_for in missing if kept_for).items()):
        log.warning("%s: raw batch %d lacks %d rows, which stay open: %s", entity.name, raw_id, count, reason)
    return [tuple(key) for key in closed_keys]


def end_replaced(db: Connection, entity: Entity) -> list[tuple[Any, ...]]:
    """End the rows of logins that were linked again, by the statement `end_replaced`, and return their keys.

    What users corrected on them is carried to the rows of the new logins that repeat them. `incoming_cursors` must hold
    the logins of the batch.
    """
    file = EntityStatements(entity)
    if "end_replaced" not in file or not replaced_accounts.concern_batch(db):
        return []
    repeated = file["repeated"]
    ended = file["end_replaced"].substitute(repeated=repeated).rows(db, {"feed": entity.feed_name})
    if ended:
        log.info("%s: %d rows of logins that were linked again ended (end_replaced)", entity.name, len(ended))
    for old_login, old_id, new_login, new_id in file["repeated_corrections"].substitute(repeated=repeated).rows(db):
        corrections.carry(db, (old_login, old_id), (new_login, new_id))
    return ended


def carry_corrections(db: Connection, entity: Entity) -> None:
    """Carry users' corrections to the rows that replace the corrected ones, by the statement `carry_corrections`.

    `incoming_cursors` must hold the logins of the batch.
    """
    file = EntityStatements(entity)
    if "carry_corrections" in file and (carried := file["carry_corrections"].run(db)):
        log.info("%s: %d corrections carried to rows that replace others", entity.name, carried)
