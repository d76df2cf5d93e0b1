"""`sluice plan`: estimate a run of an entity."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.cli.arguments import ENTITY_NAMES, complete_entity, find_entity
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json

_JSON = (
    "`entity`, `unit` (`provider accounts` or `raw batches`), `unit_count`, `chunks`, `requests`, "
    "`min_duration_seconds`, `late_logins`, `chunk_duration_seconds` and `warnings`"
)


@examples("sluice plan transactions", "sluice plan merchants --json", json=_JSON)
def plan(
    entity: Annotated[
        str, typer.Argument(metavar="ENTITY", help=f"One of {ENTITY_NAMES}.", autocompletion=complete_entity)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a run of an entity would do now: chunks, requests, and how long they take at the provider's limits.

    It writes nothing and sends no request.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.estimate import estimate_run

    declared = find_entity(entity)
    with connect_warehouse() as db:
        estimate = estimate_run(declared, db=db)
    seconds = estimate.min_duration.total_seconds()
    if as_json:
        print_json(
            {
                "entity": estimate.entity,
                "unit": estimate.unit,
                "unit_count": estimate.unit_count,
                "chunks": estimate.chunks,
                "requests": estimate.requests,
                "min_duration_seconds": seconds,
                "late_logins": estimate.late_logins,
                "chunk_duration_seconds": estimate.chunk_duration.total_seconds(),
                "warnings": list(estimate.warnings),
            }
        )
        return
    typer.echo(f"{estimate.entity}: {estimate.unit_count:,} {estimate.unit} in {estimate.chunks} chunks")
    typer.echo(
        f"{estimate.requests:,} requests; the provider's limits make them take at least {seconds / 60:.1f} minutes"
    )
    if estimate.late_logins:
        typer.echo(
            f"{estimate.late_logins:,} logins would be late: their quota allows no more calls, or too few at once"
        )
    for warning in estimate.warnings:
        typer.echo(f"warning: {warning}", err=True)
