"""What a replay would change, row by row, and in money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from etl.tools.printable import printable, shortened
from etl.tools.replayed import Replayed, Selected, replay_selected, show

if TYPE_CHECKING:
    from upath import UPath

    from etl.stores.changes import Change, Total
    from etl.stores.warehouse import Warehouse


def show_differences(selected: Selected, *, warehouse: Warehouse, root: UPath, limit: int) -> Replayed:
    """Replay, show what changed, and undo it.

    Parameters
    ----------
    limit
        Most rows to show.
    """
    from etl.steps.replay import rehearse
    from etl.stores import changes

    entity = selected.entity
    with rehearse(entity, warehouse=warehouse) as rehearsal:
        replayed = replay_selected(selected, warehouse=warehouse, root=root, rehearsal=rehearsal)
        rows, count = changes.rows(warehouse, entity, limit=limit)
        totals = changes.totals(warehouse, entity)
    show(entity, replayed)
    console = Console(highlight=False, soft_wrap=True)
    for change in rows:
        console.print(_line(change))
    more = f"; {count - len(rows):,} of them are not shown" if count > len(rows) else ""
    console.print(f"{entity.name}: {count:,} rows would change{more}. Nothing was changed.")
    if totals:
        console.print(_money(entity.name, totals))
    return replayed


def _line(change: Change) -> str:
    """Return a change in a line: the key, and each value that differs."""
    key = printable("/".join(str(value) for value in change.key.values()))
    if change.before is None:
        shown = ", ".join(f"{name} {_shown(value)}" for name, value in change.after.items() if value is not None)
        return escape(f"+ {key}: {shown}")
    differing = [
        f"{name} {_shown(was)} → {_shown(change.after[name])}"
        for name, was in change.before.items()
        if was != change.after[name]
    ]
    return escape(f"~ {key}: {', '.join(differing)}")


def _money(entity: str, totals: list[Total]) -> Table:
    table = Table("money", "currency", title=f"{entity}: money in the rows of these batches")
    for heading in ("before", "after", "difference"):
        table.add_column(heading, justify="right")
    for total in totals:
        currency = escape(printable(total.currency)) or "none"
        sums = (total.before, total.after, total.after - total.before)
        table.add_row(total.column, currency, *(f"{value.normalize():,f}" for value in sums))
    return table


def _shown(value: Any) -> str:  # noqa: ANN401 - any column's value
    if value is None:
        return "nothing"
    return shortened(repr(value) if isinstance(value, str) else str(value))
