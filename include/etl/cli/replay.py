"""`python -m etl replay`: make rows again from what the provider once sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, entity_named
from etl.declare.entity import Entity
from etl.errors import RawUnread
from etl.settings import Endpoint, Settings

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Warehouse
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from etl.cli.terminal import printable, shortened

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Warehouse
    from etl.sync.store.before_image import Change, Total
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from etl.cli.terminal import tracked
from etl.errors import PermanentError, ReplayInterrupted, SluiceError

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Warehouse
    from etl.sync.replay import Rehearsal
    from etl.sync.store.loads import Counts

_BATCHES_SHOWN = 20


@dataclass(frozen=True)
class Selected:
    """Raw batches to be replayed for an entity.

    Parameters
    ----------
    entity
        What they are typed and merged as.
    raw_ids
        The batches, in the order in which they were sealed.
    to_the_end
        Whether they are all that were sealed since the first of them.
    """

    entity: Entity
    raw_ids: Collection[int]
    to_the_end: bool


@dataclass
class Replayed:
    """What became of the records of each batch, and the batches that could not be replayed."""

    counts: dict[int, Counts] = field(default_factory=dict)
    failed: dict[int, SluiceError] = field(default_factory=dict)


def replay_selected(
    selected: Selected, *, warehouse: Warehouse, root: UPath, rehearsal: Rehearsal | None = None
) -> Replayed:
    """Replay batches in their order; one that cannot be replayed does not stop the others."""
    from etl.sync.replay import replay

    entity = selected.entity
    replayed = Replayed()
    besides = set(selected.raw_ids) if selected.to_the_end else set()
    for raw_id in tracked(list(selected.raw_ids), entity.name):
        try:
            replayed.counts[raw_id] = replay(
                entity, raw_id, warehouse=warehouse, root=root, besides=besides, rehearsal=rehearsal
            )
        except PermanentError as error:
            replayed.failed[raw_id] = error
        except ReplayInterrupted as error:
            if rehearsal:
                raise
            replayed.failed[raw_id] = error
    return replayed


def show(entity: Entity, replayed: Replayed) -> None:
    """Print what became of the records, a line for each batch if they are few, and why batches failed."""
    counts = {raw_id: asdict(found) for raw_id, found in replayed.counts.items()}
    if 1 < len(counts) <= _BATCHES_SHOWN:
        for raw_id, found in counts.items():
            typer.echo(f"{entity.name}, raw batch {raw_id}: {_listed(found)}")
    if counts:
        sums = {name: sum(found[name] for found in counts.values()) for name in next(iter(counts.values()))}
        batches = f"raw batch {next(iter(counts))}" if len(counts) == 1 else f"all {len(counts):,} raw batches"
        typer.echo(f"{entity.name}, {batches}: {_listed(sums)}")
    for failed, error in replayed.failed.items():
        typer.echo(f"{entity.name}: raw batch {failed} is left as it was: {error}", err=True)


def _listed(counts: Mapping[str, int]) -> str:
    """Return counts as words, without those that are nothing."""
    rest = [f"{count:,} {name}" for name, count in counts.items() if count and name != "read"]
    return f"{counts['read']:,} records{': ' if rest else ''}{', '.join(rest)}"


_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def replay(
    entity: Annotated[
        str | None, typer.Argument(help=f"One of {ENTITY_NAMES}; all that read the batches, if not given.")
    ] = None,
    *,
    batch: Annotated[list[int] | None, typer.Option(help="A raw batch; may be given several times.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Batches sealed at or after this instant, in UTC.", formats=_FORMATS)
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="Batches sealed before this instant.", formats=_FORMATS)
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, and change nothing.")] = False,
    rows: Annotated[int, typer.Option(help="Changed rows to show with --diff.", min=0, max=2**63 - 1)] = 20,
) -> None:
    """Type raw batches again and merge what differs; the provider is not asked, and no cursor moves.

    Rows that it writes become what they are by all later batches, not what they once were.
    """
    from upath import UPath

    from etl.db import connection as warehouse

    if not (entity or batch or since or until):
        raise typer.BadParameter("say what to replay: an entity, --batch, --since or --until")
    entities = [entity_named(entity)] if entity else list(ENTITIES)
    root = UPath(Settings.from_environment().raw_root)
    failed = False
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        all_selected = _select(entities, batch or [], _utc(since), _utc(until), warehouse=connection)
        if not all_selected:
            typer.echo("no raw batch is meant")
        for selected in all_selected:
            if diff:
                replayed = show_differences(selected, warehouse=connection, root=root, limit=rows)
            else:
                replayed = _replay(selected, warehouse=connection, root=root)
            failed = failed or bool(replayed.failed)
    raise typer.Exit(failed)


def _replay(selected: Selected, *, warehouse: Warehouse, root: UPath) -> Replayed:
    replayed = replay_selected(selected, warehouse=warehouse, root=root)
    show(selected.entity, replayed)
    if not selected.raw_ids:
        typer.echo(f"{selected.entity.name}: no raw batch is meant")
    return replayed


def _select(
    entities: list[Entity], raw_ids: list[int], since: datetime | None, until: datetime | None, *, warehouse: Warehouse
) -> list[Selected]:
    """Return what to replay: batches that meet every condition, for each entity that reads them."""
    from etl.sync.store import raw_batches

    names = " or ".join(entity.name for entity in entities)
    for batch in (raw_batches.find(warehouse, raw_id) for raw_id in raw_ids):
        if not any(batch.source in entity.sources for entity in entities):
            raise RawUnread(batch.raw_id, batch.source, names)
    selected = []
    for entity in entities:
        sealed = raw_batches.between(warehouse, sources=entity.sources, since=since, until=until)
        purged = raw_batches.between(warehouse, sources=entity.sources, since=since, until=until, purged=True)
        wanted = sorted(raw_id for raw_id in sealed + purged if raw_id in raw_ids) if raw_ids else sealed
        if purged and not raw_ids:
            typer.echo(f"{entity.name}: {len(purged):,} raw batches were purged, and are passed over", err=True)
        to_the_end = not raw_ids and until is None and not (wanted and purged and purged[-1] > wanted[0])
        if wanted or len(entities) == 1:
            selected.append(Selected(entity, wanted, to_the_end))
    return selected


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)


def show_differences(selected: Selected, *, warehouse: Warehouse, root: UPath, limit: int) -> Replayed:
    """Replay, show what changed, and undo it.

    Parameters
    ----------
    limit
        Most rows to show.
    """
    from etl.sync.replay import rehearse
    from etl.sync.store import before_image

    entity = selected.entity
    with rehearse(entity, warehouse=warehouse) as rehearsal:
        replayed = replay_selected(selected, warehouse=warehouse, root=root, rehearsal=rehearsal)
        rows, count = before_image.rows(warehouse, entity, limit=limit)
        totals = before_image.totals(warehouse, entity)
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
