"""`sluice replay`: derive rows again from the raw batches that the provider sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, complete_entity, find_entity, require_limit
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line, print_table, track_progress, truncate
from etl.declare.entity import Entity
from etl.errors import PermanentError, ReplayDeadlocked, SluiceError, SourceNotRead
from etl.settings import Settings

if TYPE_CHECKING:
    from upath import UPath

    from etl.db.connection import Connection
    from etl.sync.replay import DryRun
    from etl.sync.store.before_image import MoneyTotal, RowChange
    from etl.sync.store.loads import LoadCounts

REPLAY_JSON = (
    "`entity`, `batches` (a list of `raw_id` and the number of records `read`, `inserted`, `updated`, `unchanged`, "
    "`removed`, `superseded`, `stale`, `rejected` and `quarantined`), `totals` (these numbers over all batches; null "
    "if there are no batches) and `failed` (a list of `raw_id` and `error`)"
)
"""What `to_document` returns, for the help of commands."""

_MAX_BATCHES_SHOWN = 20
_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
_JSON = (
    f"`dry_run`, and `entities`, a list of objects with {REPLAY_JSON}; with --diff also `changed_rows` (how many), "
    "`changes` (a list of `key`, `before` and `after`: values by column, and null as `before` of a new row; a row that "
    "ends gets `removed_at` or `closed_on`) and "
    "`money` (a list of `column`, `currency`, `before`, `after` and `difference`); amounts of money are strings"
)


@dataclass(frozen=True)
class Selection:
    """Raw batches to replay for an entity.

    Parameters
    ----------
    entity
        The entity that they are typed and merged as.
    raw_ids
        The batches, in the order in which they were sealed.
    includes_all_later
        Whether the selection contains all batches that were sealed after its first one.
    """

    entity: Entity
    raw_ids: Collection[int]
    includes_all_later: bool


@dataclass
class ReplayResult:
    """The counts of each replayed batch, and the errors of those that could not be replayed, by raw id."""

    counts: dict[int, LoadCounts] = field(default_factory=dict)
    errors: dict[int, SluiceError] = field(default_factory=dict)


@dataclass(frozen=True)
class _Diff:
    """What a replay would change.

    Parameters
    ----------
    changes
        The first changed rows, in the order of their keys.
    change_count
        How many rows would change.
    totals
        Money in the affected rows, by column and currency.
    """

    changes: list[RowChange]
    change_count: int
    totals: list[MoneyTotal]


@examples(
    "sluice replay transactions --since 2026-11-20 --diff",
    "sluice replay transactions --since 2026-11-20T08:00 --until 2026-11-21",
    "sluice replay --batch 17 --batch 18",
    json=_JSON,
)
def replay(
    entity: Annotated[
        str | None,
        typer.Argument(
            metavar="ENTITY",
            help=f"One of {ENTITY_NAMES}; by default all that read the batches.",
            autocompletion=complete_entity,
        ),
    ] = None,
    *,
    batch: Annotated[list[int] | None, typer.Option(metavar="ID", help="A raw batch; may be repeated.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            help="Only batches sealed at or after this time, in UTC: 2026-11-20, or 2026-11-20T08:00.",
            formats=_FORMATS,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(metavar="TIME", help="Only batches sealed before this time, in UTC.", formats=_FORMATS),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show what would change, and change nothing.")] = False,
    rows: Annotated[
        int,
        typer.Option(metavar="N", help="Maximum number of changed rows to show with --diff.", callback=require_limit),
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Type raw batches again and merge what differs; the provider is not called, and no cursor moves.

    A row that a replay writes ends in its current state: batches that were loaded later are merged into it again.
    """
    from upath import UPath

    from etl.db.connection import connect_warehouse

    if not (entity or batch or since or until):
        raise typer.BadParameter("say what to replay: an entity, --batch, --since or --until")
    entities = [find_entity(entity)] if entity else list(ENTITIES)
    root = UPath(Settings.from_environment().raw_root)
    documents = []
    has_failed = False
    with connect_warehouse() as db:
        selections = _select(entities, batch or [], _utc(since), _utc(until), db=db)
        if not selections and not as_json:
            typer.echo("no raw batch matches")
        for selection in selections:
            if diff:
                result, changes = _replay_dry(selection, db=db, root=root, limit=rows)
            else:
                result, changes = replay_batches(selection, db=db, root=root), None
            documents.append({**to_document(selection.entity, result), **_diff_document(changes)})
            if selection.includes_all_later and not diff:
                _warn_of_empty_columns(selection.entity, db=db)
            print_counts(selection.entity, result, only_errors=as_json)
            if not as_json:
                _print_outcome(selection, changes)
            has_failed = has_failed or bool(result.errors)
    if as_json:
        print_json({"dry_run": diff, "entities": documents})
    raise typer.Exit(has_failed)


def replay_batches(selection: Selection, *, db: Connection, root: UPath, dry_run: DryRun | None = None) -> ReplayResult:
    """Replay batches in their order; one that cannot be replayed does not stop the others."""
    from etl.sync.replay import replay

    entity = selection.entity
    result = ReplayResult()
    except_batches = set(selection.raw_ids) if selection.includes_all_later else set()
    for raw_id in track_progress(list(selection.raw_ids), entity.name):
        try:
            result.counts[raw_id] = replay(
                entity, raw_id, db=db, root=root, except_batches=except_batches, dry_run=dry_run
            )
        except PermanentError as error:
            result.errors[raw_id] = error
        except ReplayDeadlocked as error:
            if dry_run:
                raise
            result.errors[raw_id] = error
    return result


def _warn_of_empty_columns(entity: Entity, *, db: Connection) -> None:
    from etl.db.tables import empty_columns

    if empty := empty_columns.find_added(db, entity):
        typer.echo(f"warning: {entity.name}: {empty}", err=True)


def print_counts(entity: Entity, result: ReplayResult, *, only_errors: bool = False) -> None:
    """Print what became of the records, with a line for each of up to 20 batches, and why batches failed.

    Parameters
    ----------
    only_errors
        Print only the errors, which go to the error stream.
    """
    counts = {raw_id: asdict(load_counts) for raw_id, load_counts in result.counts.items()}
    if counts and not only_errors:
        if 1 < len(counts) <= _MAX_BATCHES_SHOWN:
            for raw_id, batch_counts in counts.items():
                typer.echo(f"{entity.name}, raw batch {raw_id}: {format_counts(batch_counts)}")
        batches = f"raw batch {next(iter(counts))}" if len(counts) == 1 else f"all {len(counts):,} raw batches"
        typer.echo(f"{entity.name}, {batches}: {format_counts(_sum(counts.values()))}")
    for raw_id, error in result.errors.items():
        typer.echo(f"{entity.name}: raw batch {raw_id} was not replayed: {error}", err=True)


def to_document(entity: Entity, result: ReplayResult) -> dict[str, object]:
    """Return a result as a document for JSON."""
    batches = [{"raw_id": raw_id, **asdict(load_counts)} for raw_id, load_counts in result.counts.items()]
    return {
        "entity": entity.name,
        "batches": batches,
        "totals": _sum([asdict(load_counts) for load_counts in result.counts.values()]) if batches else None,
        "failed": [{"raw_id": raw_id, "error": str(error)} for raw_id, error in result.errors.items()],
    }


def _select(
    entities: list[Entity], raw_ids: list[int], since: datetime | None, until: datetime | None, *, db: Connection
) -> list[Selection]:
    """Return the batches that meet every condition, for each entity that reads them."""
    from etl.sync.store import raw_batches

    names = " or ".join(entity.name for entity in entities)
    for batch in (raw_batches.find(db, raw_id) for raw_id in raw_ids):
        if not any(batch.source in entity.sources for entity in entities):
            raise SourceNotRead(batch.raw_id, batch.source, names)
    selections = []
    for entity in entities:
        sealed = raw_batches.sealed_between(db, sources=entity.sources, since=since, until=until)
        purged = raw_batches.sealed_between(db, sources=entity.sources, since=since, until=until, only_purged=True)
        selected = sorted(raw_id for raw_id in sealed + purged if raw_id in raw_ids) if raw_ids else sealed
        if purged and not raw_ids:
            typer.echo(f"{entity.name}: {len(purged):,} raw batches were purged and are skipped", err=True)
        has_gap = bool(selected and purged and purged[-1] > selected[0])
        includes_all_later = not raw_ids and until is None and not has_gap
        if selected or len(entities) == 1:
            selections.append(Selection(entity, selected, includes_all_later))
    return selections


def _replay_dry(selection: Selection, *, db: Connection, root: UPath, limit: int) -> tuple[ReplayResult, _Diff]:
    """Replay, read what changed, and roll back.

    Parameters
    ----------
    limit
        Maximum number of changed rows to return.
    """
    from etl.sync.replay import start_dry_run
    from etl.sync.store import before_image

    with start_dry_run(selection.entity, db=db) as dry_run:
        result = replay_batches(selection, db=db, root=root, dry_run=dry_run)
        changes, count = before_image.changed_rows(db, selection.entity, limit=limit)
        totals = before_image.money_totals(db, selection.entity)
    return result, _Diff(changes, count, totals)


def _print_outcome(selection: Selection, diff: _Diff | None) -> None:
    """Print what would change, or that no batch matches."""
    name = selection.entity.name
    if diff is None:
        if not selection.raw_ids:
            typer.echo(f"{name}: no raw batch matches")
        return
    for change in diff.changes:
        print_line(_format_change(change))
    hidden = diff.change_count - len(diff.changes)
    typer.echo(
        f"{name}: {diff.change_count:,} rows would change{f'; {hidden:,} of them are not shown' if hidden else ''}. "
        "Nothing was changed."
    )
    if diff.totals:
        amounts = ("before", "after", "difference")
        print_table(
            ("money", "currency", *amounts),
            [_format_total(total) for total in diff.totals],
            numbers=amounts,
            title=f"{name}: money in the rows of these batches",
        )


def _format_total(total: MoneyTotal) -> tuple[str, ...]:
    amounts = (total.before, total.after, total.after - total.before)
    return (total.column, total.currency or "none", *(f"{amount.normalize():,f}" for amount in amounts))


def _diff_document(diff: _Diff | None) -> dict[str, object]:
    if diff is None:
        return {}
    return {
        "changed_rows": diff.change_count,
        "changes": diff.changes,
        "money": [
            {
                "column": total.column,
                "currency": total.currency or None,
                "before": total.before,
                "after": total.after,
                "difference": total.after - total.before,
            }
            for total in diff.totals
        ],
    }


def _format_change(change: RowChange) -> str:
    """Return a change in one line: `+`, `-` if the row ends, or `~`; the key; and each value that differs."""
    key = "/".join(str(value) for value in change.key.values())
    if change.before is None:
        present = {name: value for name, value in change.after.items() if value is not None}
        return f"+ {key}: {', '.join(f'{name} {_format_value(value)}' for name, value in present.items())}"
    differences = [
        f"{name} {_format_value(before)} → {_format_value(change.after[name])}"
        for name, before in change.before.items()
        if before != change.after[name]
    ]
    return f"{'-' if change.is_end else '~'} {key}: {', '.join(differences)}"


def _format_value(value: Any) -> str:  # noqa: ANN401 - any column's value
    if value is None:
        return "nothing"
    return truncate(repr(value) if isinstance(value, str) else str(value))


def format_counts(counts: Mapping[str, int]) -> str:
    """Return counts as words, without those that are zero."""
    rest = [f"{count:,} {name}" for name, count in counts.items() if count and name != "read"]
    return f"{counts['read']:,} records{': ' if rest else ''}{', '.join(rest)}"


def _sum(counts: Collection[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts that have the same names, of which there is at least one."""
    return {name: sum(each[name] for each in counts) for name in next(iter(counts))}


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)
