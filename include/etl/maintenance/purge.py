"""Removes everything that is past its retention from the warehouse and the raw root, one kind after the other."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault
from etl.declare.retention import Retention
from etl.errors import DeclarationError
from etl.maintenance.purge_storage import purge_orphans, purge_raw, purge_typed, purge_unfinished
from etl.maintenance.purge_tables import purge_bounces, purge_deliveries, purge_rows
from etl.maintenance.removed import PurgeResult


def purge(
    retention: Retention,
    entities: Collection[Entity],
    faults: Collection[DeclarationFault],
    *,
    db: Connection,
    root: UPath,
    as_of: datetime,
    dry_run: bool,
) -> list[PurgeResult]:
    """Remove everything that is past its retention, and return what was removed.

    Parameters
    ----------
    entities, faults
        All entities that read raw batches, and the faults in the declarations of others.
    root
        The raw root.
    as_of
        Now.
    dry_run
        Whether to remove nothing, and only return what would be removed.

    Raises
    ------
    DeclarationError
        If there are faults.
    LockTaken
        If another process does maintenance.
    """
    require_no_faults(faults)
    return [
        *purge_raw(retention, entities, db=db, root=root, as_of=as_of, dry_run=dry_run),
        *purge_orphans(retention, db=db, root=root, as_of=as_of, dry_run=dry_run),
        *purge_typed(retention, db=db, root=root, as_of=as_of, dry_run=dry_run),
        *purge_unfinished(retention, db=db, root=root, as_of=as_of, dry_run=dry_run),
        *purge_rows(retention, db=db, as_of=as_of, dry_run=dry_run),
        *purge_deliveries(retention, db=db, as_of=as_of, dry_run=dry_run),
        *purge_bounces(retention, db=db, as_of=as_of, dry_run=dry_run),
    ]


def require_no_faults(faults: Collection[DeclarationFault]) -> None:
    """Refuse to purge raw batches while it is unknown which entities read them.

    Raises
    ------
    DeclarationError
        If there are faults.
    """
    if faults:
        raise DeclarationError(
            "no raw batch is purged while declarations are wrong, since their entities may not have loaded it: "
            + "; ".join(map(str, faults))
        )
