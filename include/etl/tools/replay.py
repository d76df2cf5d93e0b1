"""`python -m etl replay`: make rows again from what the provider once sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.catalog.entities import ENTITIES
from etl.declare.entity import Entity
from etl.errors import RawUnread
from etl.settings import Endpoint, Settings
from etl.tools.entities import NAMES, named
from etl.tools.replayed import Replayed, Selected, replay_selected, show

if TYPE_CHECKING:
    from upath import UPath

    from etl.stores.warehouse import Warehouse

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def replay(
    entity: Annotated[
        str | None, typer.Argument(help=f"One of {NAMES}; all that read the batches, if not given.")
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
    rows: Annotated[int, typer.Option(help="Changed rows to show with --diff.", min=0)] = 20,
) -> None:
    """Type raw batches again and merge what differs; the provider is not asked, and no cursor moves.

    Rows that the table lacks come back as they are by all later batches, not as they once were.
    """
    from upath import UPath

    from etl.stores import warehouse
    from etl.tools.differences import show_differences

    if not (entity or batch or since or until):
        raise typer.BadParameter("say what to replay: an entity, --batch, --since or --until")
    entities = [named(entity)] if entity else list(ENTITIES)
    root = UPath(Settings.from_environment().raw_root)
    failed = False
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        for selected in _select(entities, batch or [], _utc(since), _utc(until), warehouse=connection):
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
    from etl.stores import raw

    names = " or ".join(entity.name for entity in entities)
    for batch in (raw.find(warehouse, raw_id) for raw_id in raw_ids):
        if not any(batch.source in entity.sources for entity in entities):
            raise RawUnread(batch.raw_id, batch.source, names)
    selected = []
    for entity in entities:
        sealed = raw.between(warehouse, sources=entity.sources, since=since, until=until)
        purged = raw.between(warehouse, sources=entity.sources, since=since, until=until, purged=True)
        wanted = sorted(raw_id for raw_id in sealed + purged if raw_id in raw_ids) if raw_ids else sealed
        if purged and not raw_ids:
            typer.echo(f"{entity.name}: {len(purged):,} raw batches were purged, and are passed over", err=True)
        to_the_end = not raw_ids and until is None and not (wanted and purged and purged[-1] > wanted[0])
        if wanted or len(entities) == 1:
            selected.append(Selected(entity, wanted, to_the_end))
    return selected


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.replace(tzinfo=UTC)
