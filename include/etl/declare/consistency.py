"""What is declared, held against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from etl.declare.entity import After, Entity, RawOf
from etl.declare.notice import Notice
from etl.declare.source import Feed
from etl.errors import DeclarationError


def find_contradictions(entities: Mapping[str, Entity], *, names: Collection[str]) -> dict[str, str]:
    """Return what makes entities impossible beside the others, by name.

    Parameters
    ----------
    entities
        Name → entity.
    names
        All names that there are, also of entities whose declaration could not be read: what follows one of these
        waits for it, and is not wrong itself.
    """
    wrong: dict[str, str] = {}
    for name, entity in sorted(entities.items()):
        reasons = (
            _missing_dependency(entity, names),
            _unread_source(entity, entities),
            _dependency_cycle(entity, entities),
        )
        if reason := next(filter(None, reasons), None):
            wrong[name] = f"entity {name}: {reason}"
    return wrong | {name: f"entity {name}: {reason}" for name, reason in _shared_feeds(entities).items()}


def require_declared_entity(notice: Notice, names: Collection[str]) -> None:
    """Refuse a notice that follows an entity of which there is no file.

    Raises
    ------
    DeclarationError
        With the names that there are.
    """
    if isinstance(notice.schedule, After) and notice.schedule.entity not in names:
        raise DeclarationError(_undeclared_reason("schedule", notice.schedule.entity, names))


def sort_by_dependency(entities: Mapping[str, Entity]) -> tuple[Entity, ...]:
    """Return the entities, each after those that it follows, and otherwise by name."""
    waiting = dict(sorted(entities.items()))
    ordered: list[Entity] = []
    while waiting:
        following = next(
            name for name, entity in waiting.items() if not waiting.keys() & _dependencies(entity).values()
        )
        ordered.append(waiting.pop(following))
    return tuple(ordered)


def _dependencies(entity: Entity) -> dict[str, str]:
    """Return the entities that one depends on, by the field that says so."""
    followed = {}
    if isinstance(entity.source, RawOf):
        followed["source"] = entity.source.entity
    if isinstance(entity.schedule, After):
        followed["schedule"] = entity.schedule.entity
    return followed


def _missing_dependency(entity: Entity, names: Collection[str]) -> str | None:
    for field, followed in _dependencies(entity).items():
        if followed not in names:
            return _undeclared_reason(field, followed, set(names) - {entity.name})
    return None


def _undeclared_reason(field: str, entity: str, names: Collection[str]) -> str:
    return f"{field} names {entity!r}, which no file declares; name one of {', '.join(sorted(names))}"


def _unread_source(entity: Entity, entities: Mapping[str, Entity]) -> str | None:
    """Return the reason if it would wait for raw batches that nobody fetches."""
    if not isinstance(entity.source, RawOf) or entity.source.entity not in entities:
        return None
    read = entities[entity.source.entity].sources
    for source in entity.source.places:
        if source not in read:
            return (
                f"source has places in {source!r}, which {entity.source.entity} does not read; "
                f"name one of {', '.join(read)}"
            )
    return None


def _dependency_cycle(entity: Entity, entities: Mapping[str, Entity]) -> str | None:
    reached: set[str] = set()
    ahead = set(_dependencies(entity).values())
    while ahead := {name for name in ahead if name in entities} - reached:
        reached |= ahead
        ahead = {followed for name in ahead for followed in _dependencies(entities[name]).values()}
    if entity.name not in reached:
        return None
    fields = " and ".join(_dependencies(entity))
    return (
        f"by its {fields} it waits for itself, through {', '.join(sorted(reached))}; give one of them another {fields}"
    )


def _shared_feeds(entities: Mapping[str, Entity]) -> dict[str, str]:
    """Return the reasons of those that read one feed.

    They would share its cursors, and each would miss what the other read. The one that the feed is named after keeps
    it: a newcomer must not stop it. If there is none, all of them stop, since nobody can tell whose cursors they are.
    """
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for name, entity in sorted(entities.items()):
        if isinstance(entity.source, Feed):
            readers[entity.source.name].append(name)
    wrong: dict[str, str] = {}
    for feed, sharing in readers.items():
        owner = max((name for name in sharing if f"{feed}_".startswith(f"{name}_")), key=len, default=None)
        for name in sharing if len(sharing) > 1 else ():
            if name != owner:
                other = owner or next(other for other in sharing if other != name)
                wrong[name] = (
                    f"source is the feed {feed}, which {other} reads too, and a feed has one cursor for each account; "
                    f"declare it as RawOf({other!r}, …)"
                )
    return wrong
