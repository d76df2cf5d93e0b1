"""`sluice migrate`: bring the warehouse's schema up to date."""

from __future__ import annotations

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json


@examples("sluice migrate", json="`applied`, the migrations that it applied")
def migrate(*, as_json: AsJson = False) -> None:
    """Bring the warehouse's schema up to date; running it again changes nothing."""
    from etl.db import migrations
    from etl.db.connection import connect_warehouse
    from etl.db.timeouts import MIGRATION_TIMEOUTS

    with connect_warehouse(timeouts=MIGRATION_TIMEOUTS) as db:
        applied = migrations.migrate(db, ENTITIES)
    if as_json:
        print_json({"applied": applied})
    else:
        typer.echo(f"migrated: {', '.join(applied)}" if applied else "The schema is up to date.")
