"""What is declared, held against each other."""

from etl.declare.entity import Entity
from etl.declare.feed import Feed
from etl.errors import DeclarationError


def catalogue(*entities: Entity) -> tuple[Entity, ...]:
    """Return the entities.

    Raises
    ------
    DeclarationError
        If two have one name, or read one feed: they would share its cursors, and each would miss what the other read.
    """
    feeds: dict[str, str] = {}
    names: set[str] = set()
    for entity in entities:
        if entity.name in names:
            raise DeclarationError(f"entity {entity.name} is declared twice; rename one")
        names.add(entity.name)
        if isinstance(entity.source, Feed):
            other = feeds.setdefault(entity.source.name, entity.name)
            if other != entity.name:
                raise DeclarationError(
                    f"entity {entity.name} reads the feed {entity.source.name}, as {other} does, and a feed has one "
                    f"cursor for each account; declare its source as RawOf({other!r}, …)"
                )
    return entities
