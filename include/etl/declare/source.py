"""Where a provider's records are read: a feed of changes, a snapshot, or a window of days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from etl.declare.provider import Fill, Limit
from etl.declare.validation import require_count, require_each, require_identifier, require_kind, require_lists
from etl.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class Source:
    """An endpoint that answers with records; the request is a JSON POST.

    Parameters
    ----------
    name
        Name of the source; raw batches carry it.
    path
        Path of the endpoint.
    request
        Body of the request; a `Fill` stands for what differs between accounts and pages.
    upserts
        Paths of the records to insert or update, such as `added[]`, in the order in which they apply.
    limits
        Calls that the provider tolerates.
    page_size
        Records to ask for in one page.
    """

    name: str
    path: str
    request: Mapping[str, object]
    upserts: tuple[str, ...]
    limits: tuple[Limit, ...]
    page_size: int = 1

    needs: ClassVar[Mapping[Fill, str]] = {}
    """What its request must leave open for each page, and what would happen otherwise."""

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return ()

    def __post_init__(self) -> None:
        where = f"source {self.name}"
        require_identifier(where, "name", self.name)
        require_kind(where, "path", self.path, str)
        require_kind(where, "request", self.request, Mapping)
        require_each(where, "upserts", self.upserts, str, least=1)
        require_lists(where, "upserts", self.upserts)
        require_lists(where, "deletes", self.removals)
        require_each(where, "limits", self.limits, Limit)
        require_count(where, "page_size", self.page_size, least=1)
        if not self.path.startswith("/"):
            raise DeclarationError(f"{where}: path is {self.path!r}; it must begin with '/'")
        for fill in _fills(self.request) - {Fill.ACCESS_TOKEN, Fill.PAGE_SIZE} - self.needs.keys():
            raise DeclarationError(
                f"{where}: its request has Fill.{fill.name}, which a {type(self).__name__} never fills; take it out"
            )
        for fill, otherwise in self.needs.items():
            if fill not in _fills(self.request):
                raise DeclarationError(f"{where}: its request has no Fill.{fill.name}, so {otherwise}; put it in")


@dataclass(frozen=True, kw_only=True)
class Feed(Source):
    """Changes, read page by page from a cursor until they are drained.

    Parameters
    ----------
    deletes
        Paths of the records to remove; applied after the upserts of the same page.
    cursor
        Field that holds the cursor to continue from; empty while the provider is not ready.
    more
        Field that tells whether the feed is not drained yet.
    cursor_life
        Time for which a cursor is good; a report warns of those that near its end. None if they do not grow old.
    """

    deletes: tuple[str, ...]
    cursor: str
    more: str
    cursor_life: timedelta | None = None

    needs: ClassVar[Mapping[Fill, str]] = {Fill.CURSOR: "every page would be the first"}

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return self.deletes


@dataclass(frozen=True, kw_only=True)
class Snapshot(Source):
    """All there is, in one page."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_outermost(self)


@dataclass(frozen=True, kw_only=True)
class Window(Source):
    """The records of some days, read page by page by offset.

    Parameters
    ----------
    total
        Field that holds how many records the window has.
    """

    total: str

    needs: ClassVar[Mapping[Fill, str]] = {
        Fill.FIRST_DAY: "every window would be the same",
        Fill.LAST_DAY: "every window would be the same",
        Fill.OFFSET: "every page would be the first",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_outermost(self)
        if len(self.upserts) > 1:
            raise DeclarationError(
                f"source {self.name}: upserts has {len(self.upserts)} places, and an offset counts one; leave one"
            )


def _require_outermost(source: Source) -> None:
    """Refuse records within other records: whether a page is whole is judged by its own lists."""
    for place in source.upserts:
        if "." in place:
            outer = place.partition(".")[0]
            raise DeclarationError(
                f"source {source.name}: upserts has {place!r}, a list within others; write {outer!r}"
            )


def _fills(template: Mapping[str, object]) -> set[Fill]:
    found: set[Fill] = set()
    for value in template.values():
        if isinstance(value, Mapping):
            found |= _fills(value)
        elif isinstance(value, Fill):
            found.add(value)
    return found


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
