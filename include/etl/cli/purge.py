"""`sluice purge`: remove everything that is past its retention."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES, FAULTS
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json
from etl.declare import fault
from etl.settings import Settings

_JSON = (
    "`dry_run`, and `results`, a list of `label`, `count` and `size_bytes` (0 if unknown) for each kind of object that "
    "was removed, or would be without --dry-run"
)


@examples("sluice purge --dry-run", "sluice purge", json=_JSON)
def purge(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove everything that is past its retention, as the Dag `maintenance` does daily.

    The retention is declared in retention.py of the catalogue.
    """
    from upath import UPath

    with fault.explained():
        from etl.catalog.retention import RETENTION
    from etl.db.connection import connect_warehouse
    from etl.maintenance.purge import purge as purge_all
    from etl.maintenance.removed import summarize

    root = UPath(Settings.from_environment().raw_root)
    with connect_warehouse() as db:
        results = purge_all(RETENTION, ENTITIES, FAULTS, db=db, root=root, as_of=datetime.now(UTC), dry_run=dry_run)
    if as_json:
        documents = [{"label": each.label, "count": each.count, "size_bytes": each.size} for each in results]
        print_json({"dry_run": dry_run, "results": documents})
    else:
        typer.echo(summarize(results, dry_run=dry_run))
