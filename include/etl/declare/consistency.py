"""Checks declarations against each other, and sorts entities by their dependencies."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping

from etl.declare.entity import After, Entity, RawOf
from etl.declare.notice import Notice
from etl.declare.source import Feed, Recent
from etl.errors import DeclarationError

_PARTITION = re.compile(r"_\d\d")


def find_contradictions(entities: Mapping[str, Entity], *, names: Collection[str]) -> dict[str, str]:
    """Return why entities contradict the others, by name.

    Parameters
    ----------
    entities
        Name → entity.
    names
        All names, including those of entities whose declaration could not be read: an entity that depends on one of
        these waits for it, and has no fault itself.
    """
    contradictions: dict[str, str] = {}
    for name, entity in sorted(entities.items()):
        reasons = (
            _taken_table(entity, entities),
            _missing_dependency(entity, names),
            _unread_source(entity, entities),
            _dependency_cycle(entity, entities),
        )
        if reason := next(filter(None, reasons), None):
            contradictions[name] = f"entity {name}: {reason}"
    return contradictions | {name: f"entity {name}: {reason}" for name, reason in _shared_feeds(entities).items()}


def _taken_table(entity: Entity, entities: Mapping[str, Entity]) -> str | None:
    """Return the reason if its table has the name of one that belongs to another entity."""
    for other in entities.values():
        prefix, suffix = entity.name[: len(other.name)], entity.name[len(other.name) :]
        is_divided = isinstance(other.source, Feed | Recent)
        if prefix == other.name and (suffix == "_history" or (is_divided and _PARTITION.fullmatch(suffix))):
            return f"core.{entity.name} is a table of {other.name}, for its versions or a part; choose another name"
    return None


def require_declared_entity(notice: Notice, names: Collection[str]) -> None:
    """Refuse a notice that is scheduled after an entity that no file declares.

    Raises
    ------
    DeclarationError
        With the declared names.
    """
    if isinstance(notice.schedule, After) and notice.schedule.entity not in names:
        raise DeclarationError(_undeclared_reason("schedule", notice.schedule.entity, names))


def sort_by_dependency(entities: Mapping[str, Entity]) -> tuple[Entity, ...]:
    """Return the entities, each after its dependencies, and otherwise by name."""
    waiting = dict(sorted(entities.items()))
    ordered: list[Entity] = []
    while waiting:
        next_name = next(
            name for name, entity in waiting.items() if not waiting.keys() & _dependencies(entity).values()
        )
        ordered.append(waiting.pop(next_name))
    return tuple(ordered)


def _dependencies(entity: Entity) -> dict[str, str]:
    """Return the names of the entities that one depends on, by the field that names them."""
    dependencies = {}
    if isinstance(entity.source, RawOf):
        dependencies["source"] = entity.source.entity
    if isinstance(entity.schedule, After):
        dependencies["schedule"] = entity.schedule.entity
    return dependencies


def _missing_dependency(entity: Entity, names: Collection[str]) -> str | None:
    for field, dependency in _dependencies(entity).items():
        if dependency not in names:
            return _undeclared_reason(field, dependency, set(names) - {entity.name})
    return None


def _undeclared_reason(field: str, entity: str, names: Collection[str]) -> str:
    return f"{field} names {entity!r}, which no file declares; name one of {', '.join(sorted(names))}"


def _unread_source(entity: Entity, entities: Mapping[str, Entity]) -> str | None:
    """Return the reason if it would wait for raw batches that no entity downloads."""
    if not isinstance(entity.source, RawOf) or entity.source.entity not in entities:
        return None
    downloaded = entities[entity.source.entity].sources
    for source in entity.source.places:
        if source not in downloaded:
            return (
                f"source has places in {source!r}, which {entity.source.entity} does not read; "
                f"name one of {', '.join(downloaded)}"
            )
    return None


def _dependency_cycle(entity: Entity, entities: Mapping[str, Entity]) -> str | None:
    reached: set[str] = set()
    frontier = set(_dependencies(entity).values())
    while frontier := {name for name in frontier if name in entities} - reached:
        reached |= frontier
        frontier = {dependency for name in frontier for dependency in _dependencies(entities[name]).values()}
    if entity.name not in reached:
        return None
    fields = " and ".join(_dependencies(entity))
    return (
        f"by its {fields} it waits for itself, through {', '.join(sorted(reached))}; give one of them another {fields}"
    )


def _shared_feeds(entities: Mapping[str, Entity]) -> dict[str, str]:
    """Return the faults of entities that read the same feed, or the same list of recent days, by name.

    They would share its cursors, and each would miss the changes that another read; or each would hold the lists of the
    other for its own, and drop their days. The one that the cursors belong to has no fault: a new entity must not stop
    it. If it is unknown which one that is, all of them are faulty.
    """
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for name, entity in sorted(entities.items()):
        if isinstance(entity.source, Feed | Recent):
            readers[entity.source.name].append(name)
    faults: dict[str, str] = {}
    for feed, sharing in readers.items():
        owner = _owner(feed, sharing)
        for name in sharing if len(sharing) > 1 else ():
            if name != owner:
                other = owner or next(other for other in sharing if other != name)
                if isinstance(entities[name].source, Feed):
                    faults[name] = (
                        f"source is the feed {feed}, which {other} reads too, and a feed has one cursor for each "
                        f"account; declare it as RawOf({other!r}, …)"
                    )
                else:
                    faults[name] = (
                        f"source is {feed}, which {other} reads too, and the recent days that were read are kept under "
                        f"its name; give its source another name, or declare it as RawOf({other!r}, …)"
                    )
    return faults


def _owner(feed: str, sharing: Collection[str]) -> str | None:
    """Return the entity that the cursors of a feed belong to: the one that the feed, or each other one, is named after.

    A copy is named after its original, perhaps with the rest of the feed's name.
    """
    named_after = [name for name in sharing if f"{feed}_".startswith(f"{name}_")]
    if named_after:
        return min(named_after, key=len)
    shortest = min(sharing, key=len)
    return shortest if all(name.startswith(shortest) for name in sharing) else None
