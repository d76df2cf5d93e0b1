"""`python -m etl plan`: what a run would do."""

from typing import Annotated

import typer

from etl.cli.arguments import ENTITY_NAMES, find_entity


def plan(entity: Annotated[str, typer.Argument(help=f"One of {ENTITY_NAMES}.")]) -> None:
    """Show what a run of an entity would do now: chunks, requests, and the time that the provider's limits take."""
    from etl.db.connection import connect_warehouse
    from etl.sync.estimate import estimate_run

    declared = find_entity(entity)
    with connect_warehouse() as db:
        expected = estimate_run(declared, db=db)
    minutes = expected.min_duration.total_seconds() / 60
    typer.echo(f"{expected.entity}: {expected.unit_count:,} {expected.unit} in {expected.chunks} chunks")
    typer.echo(f"{expected.requests:,} requests; the provider's limits make them take at least {minutes:.1f} minutes")
