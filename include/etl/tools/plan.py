"""`python -m etl plan`: what a run would do."""

from typing import Annotated

import typer

from etl.settings import Endpoint
from etl.tools.entities import NAMES, named


def plan(entity: Annotated[str, typer.Argument(help=f"One of {NAMES}.")]) -> None:
    """Show what a run of an entity would do now: chunks, requests, and the time that the provider's limits take."""
    from etl.steps.forecast import forecast
    from etl.stores import warehouse

    declared = named(entity)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        expected = forecast(declared, warehouse=connection)
    minutes = expected.least_time.total_seconds() / 60
    typer.echo(f"{expected.entity}: {expected.ids:,} {expected.of} in {expected.chunks} chunks")
    typer.echo(f"{expected.requests:,} requests; the provider's limits make them take at least {minutes:.1f} minutes")
