"""`python -m etl replay`: make rows again from what the provider once sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, find_entity
from etl.declare.entity import Entity
from etl.errors import SourceNotRead
from etl.settings import Settings

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Connection
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from etl.cli.terminal import escape_unprintable, truncate

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Connection
    from etl.sync.store.before_image import MoneyTotal, RowChange
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from etl.cli.terminal import track_progress
from etl.errors import PermanentError, ReplayDeadlocked, SluiceError

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Connection
    from etl.sync.replay import DryRun
    from etl.sync.store.loads import LoadCounts

_MAX_BATCHES_SHOWN = 20


@dataclass(frozen=True)
class Selection:
    """Raw batches to be replayed for an entity.

    Parameters
    ----------
    entity
        What they are typed and merged as.
    raw_ids
        The batches, in the order in which they were sealed.
    includes_all_later
        Whether they are all that were sealed since the first of them.
    """

    entity: Entity
    raw_ids: Collection[int]
    includes_all_later: bool


@dataclass
class ReplayResult:
    """What became of the records of each batch, and the batches that could not be replayed."""

    counts: dict[int, LoadCounts] = field(default_factory=dict)
    errors: dict[int, SluiceError] = field(default_factory=dict)


def replay_batches(selection: Selection, *, db: Connection, root: UPath, dry_run: DryRun | None = None) -> ReplayResult:
    """Replay batches in their order; one that cannot be replayed does not stop the others."""
    from etl.sync.replay import replay

    entity = selection.entity
    replayed = ReplayResult()
    besides = set(selection.raw_ids) if selection.includes_all_later else set()
    for raw_id in track_progress(list(selection.raw_ids), entity.name):
        try:
            replayed.counts[raw_id] = replay(entity, raw_id, db=db, root=root, except_batches=besides, dry_run=dry_run)
        except PermanentError as error:
            replayed.errors[raw_id] = error
        except ReplayDeadlocked as error:
            if dry_run:
                raise
            replayed.errors[raw_id] = error
    return replayed


def print_counts(entity: Entity, result: ReplayResult) -> None:
    """Print what became of the records, a line for each batch if they are few, and why batches failed."""
    counts = {raw_id: asdict(found) for raw_id, found in result.counts.items()}
    if 1 < len(counts) <= _MAX_BATCHES_SHOWN:
        for raw_id, found in counts.items():
            typer.echo(f"{entity.name}, raw batch {raw_id}: {_format_counts(found)}")
    if counts:
        sums = {name: sum(found[name] for found in counts.values()) for name in next(iter(counts.values()))}
        batches = f"raw batch {next(iter(counts))}" if len(counts) == 1 else f"all {len(counts):,} raw batches"
        typer.echo(f"{entity.name}, {batches}: {_format_counts(sums)}")
    for failed, error in result.errors.items():
        typer.echo(f"{entity.name}: raw batch {failed} is left as it was: {error}", err=True)


def _format_counts(counts: Mapping[str, int]) -> str:
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
    rows: Annotated[int, typer.Option(help="Changed rows to print_counts with --diff.", min=0, max=2**63 - 1)] = 20,
) -> None:
    """Type raw batches again and merge what differs; the provider is not asked, and no cursor moves.

    Rows that it writes become what they are by all later batches, not what they once were.
    """
    from upath import UPath

    from etl.db.connection import connect_warehouse

    if not (entity or batch or since or until):
        raise typer.BadParameter("say what to replay: an entity, --batch, --since or --until")
    entities = [find_entity(entity)] if entity else list(ENTITIES)
    root = UPath(Settings.from_environment().raw_root)
    failed = False
    with connect_warehouse() as db:
        all_selected = _select(entities, batch or [], _utc(since), _utc(until), db=db)
        if not all_selected:
            typer.echo("no raw batch is meant")
        for selected in all_selected:
            if diff:
                replayed = show_diff(selected, db=db, root=root, limit=rows)
            else:
                replayed = _replay(selected, db=db, root=root)
            failed = failed or bool(replayed.errors)
    raise typer.Exit(failed)


def _replay(selection: Selection, *, db: Connection, root: UPath) -> ReplayResult:
    replayed = replay_batches(selection, db=db, root=root)
    print_counts(selection.entity, replayed)
    if not selection.raw_ids:
        typer.echo(f"{selection.entity.name}: no raw batch is meant")
    return replayed


def _select(
    entities: list[Entity], raw_ids: list[int], since: datetime | None, until: datetime | None, *, db: Connection
) -> list[Selection]:
    """Return what to replay: batches that meet every condition, for each entity that reads them."""
    from etl.sync.store import raw_batches

    names = " or ".join(entity.name for entity in entities)
    for batch in (raw_batches.find(db, raw_id) for raw_id in raw_ids):
        if not any(batch.source in entity.sources for entity in entities):
            raise SourceNotRead(batch.raw_id, batch.source, names)
    selected = []
    for entity in entities:
        sealed = raw_batches.sealed_between(db, sources=entity.sources, since=since, until=until)
        purged = raw_batches.sealed_between(db, sources=entity.sources, since=since, until=until, only_purged=True)
        wanted = sorted(raw_id for raw_id in sealed + purged if raw_id in raw_ids) if raw_ids else sealed
        if purged and not raw_ids:
            typer.echo(f"{entity.name}: {len(purged):,} raw batches were purged, and are passed over", err=True)
        to_the_end = not raw_ids and until is None and not (wanted and purged and purged[-1] > wanted[0])
        if wanted or len(entities) == 1:
            selected.append(Selection(entity, wanted, to_the_end))
    return selected


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)


def show_diff(selection: Selection, *, db: Connection, root: UPath, limit: int) -> ReplayResult:
    """Replay, show what changed, and undo it.

    Parameters
    ----------
    limit
        Most rows to show.
    """
    from etl.sync.replay import start_dry_run
    from etl.sync.store import before_image

    entity = selection.entity
    with start_dry_run(entity, db=db) as rehearsal:
        replayed = replay_batches(selection, db=db, root=root, dry_run=rehearsal)
        rows, count = before_image.changed_rows(db, entity, limit=limit)
        totals = before_image.money_totals(db, entity)
    print_counts(entity, replayed)
    console = Console(highlight=False, soft_wrap=True)
    for change in rows:
        console.print(_format_change(change))
    more = f"; {count - len(rows):,} of them are not shown" if count > len(rows) else ""
    console.print(f"{entity.name}: {count:,} rows would change{more}. Nothing was changed.")
    if totals:
        console.print(_money_table(entity.name, totals))
    return replayed


def _format_change(change: RowChange) -> str:
    """Return a change in a line: the key, and each value that differs."""
    key = escape_unprintable("/".join(str(value) for value in change.key.values()))
    if change.before is None:
        shown = ", ".join(f"{name} {_format_value(value)}" for name, value in change.after.items() if value is not None)
        return escape(f"+ {key}: {shown}")
    differing = [
        f"{name} {_format_value(was)} → {_format_value(change.after[name])}"
        for name, was in change.before.items()
        if was != change.after[name]
    ]
    return escape(f"~ {key}: {', '.join(differing)}")


def _money_table(entity: str, totals: list[MoneyTotal]) -> Table:
    table = Table("money", "currency", title=f"{entity}: money in the rows of these batches")
    for heading in ("before", "after", "difference"):
        table.add_column(heading, justify="right")
    for total in totals:
        currency = escape(escape_unprintable(total.currency)) or "none"
        sums = (total.before, total.after, total.after - total.before)
        table.add_row(total.column, currency, *(f"{value.normalize():,f}" for value in sums))
    return table


def _format_value(value: Any) -> str:  # noqa: ANN401 - any column's value
    if value is None:
        return "nothing"
    return truncate(repr(value) if isinstance(value, str) else str(value))
