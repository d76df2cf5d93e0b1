"""`python -m etl migrate`: bring the warehouse's schema up to date."""

import typer

from etl.catalog.entities import ENTITIES


def migrate() -> None:
    """Bring the warehouse's schema up to date; running it again changes nothing."""
    from etl.db import migrations
    from etl.db.connection import connect_warehouse

    with connect_warehouse() as db:
        applied = migrations.migrate(db, [entity.name for entity in ENTITIES])
    typer.echo(f"migrated: {', '.join(applied)}" if applied else "The schema is up to date.")
