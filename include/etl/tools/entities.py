"""Entities by the names that a person types."""

import typer

from etl.catalog.entities import ENTITIES
from etl.declare.entity import Entity

NAMES = ", ".join(entity.name for entity in ENTITIES)


def named(name: str) -> Entity:
    """Return an entity.

    Raises
    ------
    typer.BadParameter
        If there is none of this name.
    """
    for entity in ENTITIES:
        if entity.name == name:
            return entity
    raise typer.BadParameter(f"{name!r} is no entity; it is one of {NAMES}")
