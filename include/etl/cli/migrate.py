"""`sluice migrate`: bring the warehouse's schema up to date."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from etl import catalog_folder
from etl.catalog.entities import ENTITIES
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json

if TYPE_CHECKING:
    from etl.db.migrations import Plan

_JSON = (
    "`applied`, the migrations that it applied, `changes`, what it changed in the tables of the entities, and "
    "`faults`, as `sluice check` has them; with --plan or --check `is_open`, `edited`, `pending`, `changes`, "
    "`refused`, and `unrecorded`, the entities whose version is not recorded yet"
)


@examples("sluice migrate", "sluice migrate --plan", json=_JSON)
def migrate(
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="The same, and exit with 1 if anything would change or is refused.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the warehouse's schema up to date, and the tables of the entities to what they declare.

    Columns are added and widened; what could lose values is refused, with a remedy. Running it again changes nothing.
    It ends with `sluice check --database`, and warns of what that finds, since a fault stops only its own Dag.
    """
    from etl.cli.declarations.check import find_database_faults
    from etl.db import migrations
    from etl.db.connection import connect_warehouse
    from etl.db.timeouts import MIGRATION_TIMEOUTS

    catalog_folder.find().require_usable()
    with connect_warehouse(timeouts=MIGRATION_TIMEOUTS) as db:
        if plan or check:
            found = migrations.plan(db, ENTITIES)
            _show(found, as_json=as_json)
            raise typer.Exit(check and found.is_open)
        changes: list[str] = []
        tell = changes.append if as_json else typer.echo
        applied = migrations.migrate(db, ENTITIES, tell=tell, warn=partial(typer.echo, err=True))
        faults, _ = find_database_faults(db)
    for fault in faults:
        typer.echo(f"warning: {fault}", err=True)
    if as_json:
        print_json({"applied": applied, "changes": changes, "faults": faults})
    else:
        typer.echo(f"migrated: {', '.join(applied)}" if applied else "The schema is up to date.")


def _show(plan: Plan, *, as_json: bool) -> None:
    """Print what a migration would do."""
    document = {
        "is_open": plan.is_open,
        "edited": [migration.name for migration in plan.edited],
        "pending": plan.pending,
        "changes": [str(change) for table in plan.tables for change in table.changes],
        "refused": [str(obstacle) for table in plan.tables for obstacle in table.obstacles],
        "unrecorded": [table.entity.name for table in plan.tables if not table.is_recorded],
    }
    if as_json:
        print_json(document)
        return
    for label, lines in document.items():
        for line in lines if isinstance(lines, list) else ():
            typer.echo(f"{label}: {line}")
    if not plan.is_open:
        typer.echo("The schema is up to date.")
