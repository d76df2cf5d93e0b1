"""Decisions about rows that a full read of a feed did not contain: end them, or bring them back."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from tempfile import TemporaryDirectory

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import PermanentError
from etl.sync import recent, reprocess
from etl.sync.replay import replay
from etl.sync.store import before_image, cursors, raw_batches, reconciliations
from etl.sync.store.reconciliations import Reconciliation

log = logging.getLogger(__name__)


class NothingToDecide(PermanentError):
    """Logins have no reconciliation of the kind that is to be decided."""

    def __init__(self, provider_account_ids: Collection[int], found: str) -> None:
        super().__init__(
            f"provider accounts {', '.join(map(str, provider_account_ids))}: {found}; nothing was changed, see "
            "`sluice resync --show`."
        )


def approve(
    provider_account_ids: Collection[int], *, entities: Mapping[str, Entity], db: Connection, root: UPath
) -> list[Reconciliation]:
    """End the rows whose end waits, of some logins, by replaying their raw batches; return what was approved.

    Rows that were written after the read stay.

    Raises
    ------
    NothingToDecide
        If no row of a login waits.
    RawPurged
        If the raw batch of a read was purged.
    """
    pending = {login: reconciliations.to_approve(db, login) for login in provider_account_ids}
    if idle := [login for login, found in pending.items() if not found]:
        raise NothingToDecide(idle, "no row waits for approval")
    approved = [each for found in pending.values() for each in found]
    with db.transaction():
        for each in approved:
            reconciliations.decide(db, each, "approved")
        for entity_name, raw_id in dict.fromkeys((each.entity, each.raw_id) for each in approved):
            replay(entities[entity_name], raw_id, db=db, root=root)
    log.info("approved: %s", "; ".join(map(str, approved)))
    return approved


def revoke(
    provider_account_ids: Collection[int], *, entities: Mapping[str, Entity], db: Connection, root: UPath
) -> list[Reconciliation]:
    """Bring back the rows that the latest reconciliations of some logins ended, or keep them; return what was revoked.

    Changes that the feed reported after the read are merged again, since they found no live row.

    Raises
    ------
    NothingToDecide
        If no row of a login was ended, and none waits.
    RawPurged
        If a later raw batch was purged.
    """
    found_by_login = {login: reconciliations.to_revoke(db, login) for login in provider_account_ids}
    if idle := [login for login, found in found_by_login.items() if not found]:
        raise NothingToDecide(idle, "no row was ended, and none waits for approval")
    revoked = [each for found in found_by_login.values() for each in found]
    with db.transaction():
        for each in revoked:
            _revoke(each, entities[each.entity], db=db, root=root)
    log.info("revoked: %s", "; ".join(map(str, revoked)))
    return revoked


def _revoke(reconciliation: Reconciliation, entity: Entity, *, db: Connection, root: UPath) -> None:
    """Bring back the rows of one reconciliation, as they are after all later batches."""
    raw_id = reconciliation.raw_id
    raw_batches.lock(db, raw_id)
    cursors.lock_of(db, reconciliation.provider_account_id, feed=entity.feed_name or "")
    reconciliations.decide(db, reconciliation, "revoked")
    before_image.create(db, entity)
    keys = recent.statements_of(entity)["restore_absent"].rows(
        db,
        {"raw_id": raw_id, "entity": entity.name, "provider_account_id": reconciliation.provider_account_id},
    )
    if keys:
        before_image.set_changed_keys(db, entity, keys)
        with TemporaryDirectory(prefix="sluice-revoke-") as folder:
            reprocess.merge_later_batches(entity, raw_id, db=db, root=root, typed_root=UPath(folder))
