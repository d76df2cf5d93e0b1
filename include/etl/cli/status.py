"""`python -m etl status`: how much there is, how fresh and how clean."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from etl.catalog.entities import ENTITIES


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show rows, last load, lag and rejects of each entity, and the provider accounts by state."""
    from rich.console import Console
    from rich.table import Table

    from etl.db.connection import connect_warehouse
    from etl.sync.store import status as store

    with connect_warehouse() as db:
        now = datetime.now(UTC)
        entities = [store.of_entity(db, entity=entity.name, version=entity.version, as_of=now) for entity in ENTITIES]
        accounts = store.accounts_by_state(db)
    if as_json:
        shown = {"entities": [asdict(entity) for entity in entities], "provider_accounts": accounts}
        typer.echo(json.dumps(shown, default=datetime.isoformat))
        return
    table = Table("entity")
    for heading in ("rows", "last load", "lag", "rejects"):
        table.add_column(heading, justify="right")
    for entity in entities:
        lag = "never loaded" if entity.lag is None else str(timedelta(seconds=round(entity.lag)))
        loaded = "" if entity.loaded_at is None else f"{entity.loaded_at:%Y-%m-%d %H:%M:%S} UTC"
        table.add_row(entity.entity, f"{entity.rows:,}", loaded, lag, f"{entity.rejects:,}")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"Provider accounts: {', '.join(f'{count:,} {state}' for state, count in accounts.items()) or 'none'}"
    )
