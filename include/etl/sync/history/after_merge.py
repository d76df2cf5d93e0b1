"""Statements that an entity may have, and that run after its merge, while the batch is staged."""

import logging
from collections import Counter
from datetime import timedelta
from typing import Any

from etl.db.connection import Connection
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.sync.history import corrections
from etl.sync.logins.store import replaced_accounts
from etl.sync.logins.store.replaced_accounts import LinkedAccount
from etl.sync.store import cursors, reconciliations, staging

MAX_SHIFT = timedelta(days=3)
"""Between the days on which a bank dates the same money before and after its login is linked again."""

MAX_GAP = timedelta(days=7)
"""Between two days of which a login has records, if it shall be known to have all those of the days in between."""

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


def replace_linked_again(db: Connection, entity: Entity) -> None:
    """Let logins replace the earlier ones of the same accounts, once, when their accounts are first loaded.

    The statement `newly_linked` returns the accounts of the batch's logins that are still to be compared. Linking tries
    it before; see `relink`. `incoming_cursors` must hold the logins of the batch.
    """
    file = EntityStatements(entity)
    if "newly_linked" not in file:
        return
    if accounts := file["newly_linked"].objects(db, LinkedAccount):
        matches = replaced_accounts.compare(db, accounts)
        for new, old in sorted({(match.new_provider_account_id, match.old_provider_account_id) for match in matches}):
            log.info("%s: provider account %d has accounts of %d, linked before", entity.name, new, old)
    replaced_accounts.mark_compared(db)


def lock_newly_linked(db: Connection, entity: Entity) -> None:
    """Exclude whoever links or restores logins that `replace_linked_again` compares, before rows are locked."""
    if "newly_linked" in EntityStatements(entity):
        replaced_accounts.lock_users_of_batch(db)


def end_replaced(db: Connection, entity: Entity) -> list[tuple[Any, ...]]:
    """End the rows of logins that were linked again, by the statement `end_replaced`, and return their keys.

    The statement `compare_replaced` finds them. What users corrected on them is carried to the rows of the new logins
    that repeat them. `incoming_cursors` must hold the logins of the batch.
    """
    file, feed = EntityStatements(entity), entity.feed_name
    if feed is None or "end_replaced" not in file or not replaced_accounts.concern_batch(db):
        return []
    # A login may have been found to replace another after the load had begun; those of before are locked already.
    cursors.lock(db, feed=feed)
    values = {
        "feed": feed,
        "max_shift": MAX_SHIFT.days,
        "max_gap": MAX_GAP.days,
        "always_tolerated": reconciliations.ALWAYS_TOLERATED_ABSENCES,
        "tolerated_share": entity.tolerated_absences,
    }
    with staging.prefer_index_lookup(db):
        file["drop_compared"].run(db)
        file["compare_replaced"].run(db, values)
        ended = file["end_replaced"].rows(db)
        corrections.carry(db, file["repeated_corrections"])
    replaced_accounts.mark_ended(db, feed=feed)
    if ended:
        log.info("%s: %d rows of logins that were linked again ended (end_replaced)", entity.name, len(ended))
    for login, reason, kept in file["count_kept"].rows(db):
        log.warning(
            "%s: provider account %d was linked again, and %d of its rows are lacking in the later login, but stay: "
            "%s; if the accounts are not the same, use `sluice logins restore %d`",
            entity.name,
            login,
            kept,
            reason,
            login,
        )
    return ended


def reread_untold(db: Connection, entity: Entity) -> None:
    """Request full reads of the logins of which only a window brought a row, by the statement `find_untold`.

    `incoming_cursors` must hold the logins of a batch of the feed whose cursors have not been moved yet.
    """
    file, feed = EntityStatements(entity), entity.feed_name
    if feed is None or "find_untold" not in file:
        return
    if untold := file["find_untold"].scalars(db, {"feed": feed}):
        cursors.request_full_read(db, untold, feeds=[feed])
        log.info(
            "%s: the feed does not tell of rows that a window brought of %d logins, such as %d: the next run reads it "
            "from its beginning",
            entity.name,
            len(untold),
            untold[0],
        )


def carry_corrections(db: Connection, entity: Entity) -> None:
    """Carry users' corrections to the rows that replace the corrected ones, by the statement `carried_corrections`.

    `incoming_cursors` must hold the logins of the batch.
    """
    file = EntityStatements(entity)
    if "carried_corrections" in file and (carried := corrections.carry(db, file["carried_corrections"])):
        log.info("%s: %d corrections carried to rows that replace others", entity.name, carried)
