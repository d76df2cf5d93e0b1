"""`sluice status`: how many rows there are, how fresh they are, and how many records were rejected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_table

_JSON = (
    "`entities`, a list of `entity`, `rows`, `loaded_at`, `lag` (seconds) and `rejects`, and `provider_accounts`, the "
    "number of accounts by state"
)


@examples("sluice status", "sluice status --json | jq '.entities[] | .entity, .lag'", json=_JSON)
def status(*, as_json: AsJson = False) -> None:
    """Show rows, last load, lag and rejects of each entity, and the provider accounts by state."""
    from etl.db.connection import connect_warehouse
    from etl.sync.store import status as status_store

    now = datetime.now(UTC)
    with connect_warehouse() as db:
        entities = [status_store.entity_status(db, entity=entity.name, as_of=now) for entity in ENTITIES]
        accounts = status_store.accounts_by_state(db)
    if as_json:
        print_json({"entities": entities, "provider_accounts": accounts})
        return
    rows = []
    for entity in entities:
        lag = "never loaded" if entity.lag is None else str(timedelta(seconds=round(entity.lag)))
        loaded = "" if entity.loaded_at is None else f"{entity.loaded_at:%Y-%m-%d %H:%M:%S} UTC"
        rows.append((entity.entity, entity.rows, loaded, lag, entity.rejects))
    numbers = ("rows", "last load", "lag", "rejects")
    print_table(("entity", *numbers), rows, numbers=numbers)
    counts = ", ".join(f"{count:,} {state}" for state, count in accounts.items())
    typer.echo(f"Provider accounts: {counts or 'none'}")
