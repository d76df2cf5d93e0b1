"""`sluice status`: how many rows there are, how fresh they are, and what waits for a person."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from etl.catalog.entities import ENTITIES, FAULTS
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line, print_table

if TYPE_CHECKING:
    from etl.sync.logins.store.logins import StateCount

_MAX_REASONS = 20
_JSON = (
    "`entities`, a list of `entity`, `rows`, `loaded_at`, `lag` (seconds), `rejects` (open ones), `field_warnings`, "
    "`quarantined_logins` and `pending_reconciliations`; `provider_accounts`, the number of logins by state; "
    "`logins`, a list of `state`, `reason` and `logins` (how many), the most frequent first; and `faults`, a list of "
    "`name`, `location` and `reason` of entities that are not synced, since their declarations are wrong"
)


@examples("sluice status", "sluice status --json | jq '.entities[] | .entity, .lag'", json=_JSON)
def status(*, as_json: AsJson = False) -> None:
    """Show rows, lag, rejects and open decisions of each entity, and the logins by state and reason."""
    from etl.db.connection import connect_warehouse
    from etl.sync.logins.store import logins as login_store
    from etl.sync.store import status as status_store

    now = datetime.now(UTC)
    with connect_warehouse() as db:
        entities = [status_store.entity_status(db, entity, as_of=now) for entity in ENTITIES]
        logins = login_store.count_by_state(db)
    by_state: Counter[str] = Counter()
    for each in logins:
        by_state[each.state] += each.logins
    if as_json:
        print_json(
            {"entities": entities, "provider_accounts": by_state, "logins": logins[:_MAX_REASONS], "faults": FAULTS}
        )
        return
    rows = []
    for entity in entities:
        lag = "never loaded" if entity.lag is None else str(timedelta(seconds=round(entity.lag)))
        loaded = "" if entity.loaded_at is None else f"{entity.loaded_at:%Y-%m-%d %H:%M:%S} UTC"
        waiting = (entity.rejects, entity.field_warnings, entity.quarantined_logins, entity.pending_reconciliations)
        rows.append((entity.entity, entity.rows, loaded, lag, *waiting))
    numbers = ("rows", "last load", "lag", "rejects", "warnings", "quarantined", "to approve")
    print_table(("entity", *numbers), rows, numbers=numbers)
    counts = ", ".join(f"{count:,} {state}{_format_reasons(logins, state)}" for state, count in by_state.most_common())
    print_line(f"Logins: {counts or 'none'}")
    if FAULTS:
        print_line(f"Not synced, since the declaration is wrong: {', '.join(fault.name for fault in FAULTS)}")


def _format_reasons(logins: list[StateCount], state: str) -> str:
    """Return why logins have a state, in parentheses; empty if they have no reasons."""
    counts = [f"{each.logins:,} {each.reason}" for each in logins if each.state == state and each.reason]
    more = ", …" if len(counts) > _MAX_REASONS else ""
    return f" ({', '.join(counts[:_MAX_REASONS])}{more})" if counts else ""
