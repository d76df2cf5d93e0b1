"""`python -m etl purge`: remove what is past its retention."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES, FAULTS
from etl.catalog.retention import RETENTION
from etl.settings import Settings


def purge(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove what is past its retention, as the Dag `maintenance` does daily; see include/etl/catalog/retention.py."""
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.maintenance import purge as step
    from etl.maintenance.removed import summarize

    root = UPath(Settings.from_environment().raw_root)
    with connect_warehouse() as db:
        removed = step.purge(RETENTION, ENTITIES, FAULTS, db=db, root=root, as_of=datetime.now(UTC), dry_run=dry_run)
    typer.echo(summarize(removed, dry_run=dry_run))
