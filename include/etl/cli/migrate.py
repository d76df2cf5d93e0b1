"""`python -m etl migrate`: bring the warehouse's schema up to date."""

import typer

from etl.catalog.entities import ENTITIES
from etl.settings import Endpoint


def migrate() -> None:
    """Bring the warehouse's schema up to date; running it again changes nothing."""
    from etl.db import connection as warehouse
    from etl.db import migrations

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        applied = migrations.migrate(connection, [entity.name for entity in ENTITIES])
    typer.echo(f"migrated: {', '.join(applied)}" if applied else "The schema is up to date.")
