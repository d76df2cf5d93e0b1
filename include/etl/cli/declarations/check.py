"""`sluice check`: find what is wrong with the declarations, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from etl import catalog_folder
from etl.catalog import entities, notices
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    from etl.db.connection import Connection
    from etl.declare.fault import DeclarationFault

_JSON = "`faults`, a list of `name`, `location` and `reason`, and `unchecked`, a list of what could not be checked"


@examples("sluice check", "sluice check --database", json=_JSON)
def check(
    *,
    database: Annotated[
        bool,
        typer.Option("--database", help="Also prepare each statement against the warehouse, which is not changed."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check all declarations, their templates and their SQL, and exit with 1 if anything is wrong.

    It needs neither Airflow nor a database. With --database, Postgres also checks tables, columns and types.
    """
    faults = list(find_faults())
    unchecked: list[str] = []
    if database:
        from etl.db.connection import connect_warehouse

        known = {each.location for each in faults}
        with connect_warehouse() as db:
            found, unchecked = find_database_faults(db)
        faults += [each for each in found if each.location not in known]
    if as_json:
        print_json({"faults": faults, "unchecked": unchecked})
    else:
        for each in faults:
            print_line(str(each))
        for line in unchecked:
            print_line(f"not checked: {line}")
        declared = f"Entities: {len(entities.ENTITIES)}, notices: {len(notices.NOTICES)}."
        print_line(f"Faults: {len(faults)}." if faults else f"No faults. {declared}")
    raise typer.Exit(bool(faults))


def find_faults() -> Iterator[DeclarationFault]:
    """Yield all faults that are found without a database."""
    from etl.preflight import modules, own_sql
    from etl.preflight.templates import find_template_faults

    catalog = catalog_folder.find()
    if catalog.problem:
        yield from entities.FAULTS
        return
    shared, shared_faults = modules.import_shared(catalog.shared_files)
    yield from shared_faults
    yield from modules.find_repeated_keys(catalog.files)
    yield from modules.without_repeated((*entities.FAULTS, *notices.FAULTS), shared_faults)
    yield from modules.find_mismatches(entities.ENTITIES, notices.NOTICES, shared)
    entity_names = [*(each.name for each in entities.ENTITIES), *(each.name for each in entities.FAULTS)]
    yield from own_sql.find_entity_faults(entities.ENTITIES, entity_names)
    notice_names = [*(each.name for each in notices.NOTICES), *(each.name for each in notices.FAULTS)]
    yield from own_sql.find_notice_faults(notices.NOTICES, notice_names)
    for notice in notices.NOTICES:
        columns = own_sql.find_columns(notice)
        yield from find_template_faults(notice, columns)


def find_database_faults(db: Connection) -> tuple[list[DeclarationFault], list[str]]:
    """Return the faults that Postgres finds, and what could not be checked."""
    from etl.preflight.database import Preparation

    preparation = Preparation(db)
    preparation.check(entities.ENTITIES, notices.NOTICES)
    return preparation.faults, preparation.unchecked
