"""Replays one batch after the other, and shows what became of their records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import typer

from etl.declare.entity import Entity
from etl.errors import PermanentError
from etl.tools.progress import tracked

if TYPE_CHECKING:
    from upath import UPath

    from etl.steps.replay import Rehearsal
    from etl.stores.loads import Counts
    from etl.stores.warehouse import Warehouse

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
    failed: dict[int, PermanentError] = field(default_factory=dict)


def replay_selected(
    selected: Selected, *, warehouse: Warehouse, root: UPath, rehearsal: Rehearsal | None = None
) -> Replayed:
    """Replay batches in their order; one that cannot be replayed does not stop the others."""
    from etl.steps.replay import replay
    from etl.stores import loads

    entity = selected.entity
    replayed = Replayed()
    for raw_id in tracked(list(selected.raw_ids), entity.name):
        later = () if selected.to_the_end else loads.later(warehouse, raw_id=raw_id, entity=entity.name)
        try:
            replayed.counts[raw_id] = replay(
                entity, raw_id, warehouse=warehouse, root=root, later=later, rehearsal=rehearsal
            )
        except PermanentError as error:
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
