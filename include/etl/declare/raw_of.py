"""Records that were fetched for another entity already."""

from collections.abc import Mapping
from dataclasses import dataclass

from etl.declare.values import require_each, require_identifier, require_kind, require_lists
from etl.errors import DeclarationError


@dataclass(frozen=True)
class RawOf:
    """Records read from the raw batches of another entity, without asking the provider again.

    Parameters
    ----------
    entity
        Name of that entity.
    places
        Source of a raw batch → paths of the records in its pages, such as `added[].counterparties[]`.
    having
        Field that a record must have to be one; the others are passed over.
    """

    entity: str
    places: Mapping[str, tuple[str, ...]]
    having: str

    def __post_init__(self) -> None:
        where = f"RawOf({self.entity!r})"
        require_identifier(where, "entity", self.entity)
        require_kind(where, "places", self.places, Mapping)
        require_kind(where, "having", self.having, str)
        if not self.places:
            raise DeclarationError(f"{where}: places is empty; write where in the pages of each source the records are")
        for source, places in self.places.items():
            require_each(where, f"places[{source!r}]", places, str, least=1)
            require_lists(where, f"places[{source!r}]", places)
