"""`python -m etl plan`: what a run would do."""

from typing import Annotated

import typer

from etl.cli.arguments import ENTITY_NAMES, entity_named
from etl.settings import Endpoint


def plan(entity: Annotated[str, typer.Argument(help=f"One of {ENTITY_NAMES}.")]) -> None:
    """Show what a run of an entity would do now: chunks, requests, and the time that the provider's limits take."""
    from etl.db import connection as warehouse
    from etl.sync.estimate import forecast

    declared = entity_named(entity)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        expected = forecast(declared, warehouse=connection)
    minutes = expected.least_time.total_seconds() / 60
    typer.echo(f"{expected.entity}: {expected.ids:,} {expected.of} in {expected.chunks} chunks")
    typer.echo(f"{expected.requests:,} requests; the provider's limits make them take at least {minutes:.1f} minutes")
