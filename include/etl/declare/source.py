"""Sources of a provider's records: a feed of changes, a snapshot, a window of days, or another entity's raw batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from etl.declare.provider import Placeholder, RateLimit
from etl.declare.validation import (
    require_count,
    require_duration,
    require_identifier,
    require_list_paths,
    require_tuple,
    require_type,
)
from etl.errors import DeclarationError

PAGE_TOLERANCE = 4
"""Records of a page, as a multiple of those that were asked for, above which the page is not read. Providers count
differently what they were asked for; none sends thousands of records instead of hundreds."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An endpoint that returns records; the request is a JSON POST.

    Parameters
    ----------
    name
        Name of the source; stored with its raw batches.
    path
        Path of the endpoint.
    request
        Body of the request; a `Placeholder` stands for a value that differs between accounts or pages.
    upserts
        Paths of the records to insert or update, such as `added[]`, in the order in which they are applied.
    limits
        Rate limits of the provider.
    page_size
        Records to request in one page.
    max_records
        Most records that a page may have; an account that gets a larger page is skipped. None for `PAGE_TOLERANCE`
        times the page size.
    """

    name: str
    path: str
    request: Mapping[str, object]
    upserts: tuple[str, ...]
    limits: tuple[RateLimit, ...]
    page_size: int = 1
    max_records: int | None = None

    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {}
    """Placeholders that its request must have → what would happen without them."""

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return ()

    @property
    def record_limit(self) -> int:
        """Most records that a page may have."""
        return self.max_records or PAGE_TOLERANCE * self.page_size

    def __post_init__(self) -> None:
        where = f"source {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "path", self.path, str)
        require_type(where, "request", self.request, Mapping)
        require_tuple(where, "upserts", self.upserts, str, minimum=1)
        require_list_paths(where, "upserts", self.upserts)
        require_list_paths(where, "deletes", self.removals)
        require_tuple(where, "limits", self.limits, RateLimit)
        require_count(where, "page_size", self.page_size, minimum=1)
        if self.max_records is not None:
            require_count(where, "max_records", self.max_records, minimum=self.page_size)
        if not self.path.startswith("/"):
            raise DeclarationError(f"{where}: path is {self.path!r}; it must begin with '/'")
        for placeholder in (
            _find_placeholders(self.request)
            - {Placeholder.ACCESS_TOKEN, Placeholder.PAGE_SIZE}
            - self.required_placeholders.keys()
        ):
            raise DeclarationError(
                f"{where}: its request has Placeholder.{placeholder.name}, which a {type(self).__name__} never fills; "
                "remove it"
            )
        for placeholder, consequence in self.required_placeholders.items():
            if placeholder not in _find_placeholders(self.request):
                raise DeclarationError(
                    f"{where}: its request has no Placeholder.{placeholder.name}, so {consequence}; add it"
                )


@dataclass(frozen=True, kw_only=True)
class Feed(Source):
    """A feed of changes, read page by page from a cursor until it is drained.

    Parameters
    ----------
    deletes
        Paths of the records to remove; applied after the upserts of the same page.
    cursor
        Field that holds the cursor to continue from; empty while the provider is not ready.
    more
        Field that is true while the feed has more pages.
    cursor_life
        Time for which a cursor is valid; a report warns of cursors that are about to expire. None if they never do.
    history
        How far back the provider promises to send records of a new login, if it is linked as usual; None if it promises
        nothing. Kept per login, since `sluice link --history-days` may say otherwise.
    """

    deletes: tuple[str, ...]
    cursor: str
    more: str
    cursor_life: timedelta | None = None
    history: timedelta | None = None

    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {Placeholder.CURSOR: "every page would be the first"}

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return self.deletes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.history is not None:
            require_duration(f"source {self.name}", "history", self.history)


@dataclass(frozen=True, kw_only=True)
class Snapshot(Source):
    """All records of an account, in one page."""

    max_records: int | None = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_top_level(self)


@dataclass(frozen=True, kw_only=True)
class Window(Source):
    """The records of a range of days, read page by page by offset.

    Parameters
    ----------
    total
        Field that holds the number of records in the window.
    identity
        Field of a record that identifies it. Each page begins with the last record of the page before, which shows
        whether records were added or removed meanwhile.
    """

    total: str
    identity: str

    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {
        Placeholder.FIRST_DAY: "every window would be the same",
        Placeholder.LAST_DAY: "every window would be the same",
        Placeholder.OFFSET: "every page would be the first",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_top_level(self)
        require_type(f"source {self.name}", "identity", self.identity, str)
        if len(self.upserts) > 1:
            raise DeclarationError(
                f"source {self.name}: upserts has {len(self.upserts)} paths, but an offset counts one; keep one"
            )


def _require_top_level(source: Source) -> None:
    """Refuse records nested in other records, since a page is checked for completeness by its top-level lists."""
    for path in source.upserts:
        if "." in path:
            outer = path.partition(".")[0]
            raise DeclarationError(f"source {source.name}: upserts has {path!r}, a list within others; write {outer!r}")


def _find_placeholders(template: Mapping[str, object]) -> set[Placeholder]:
    placeholders: set[Placeholder] = set()
    for value in template.values():
        if isinstance(value, Mapping):
            placeholders |= _find_placeholders(value)
        elif isinstance(value, Placeholder):
            placeholders.add(value)
    return placeholders


@dataclass(frozen=True)
class RawOf:
    """Records read from the raw batches of another entity, without requests to the provider.

    Parameters
    ----------
    entity
        Name of that entity.
    places
        Source of a raw batch → paths of the records in its pages, such as `added[].counterparties[]`.
    having
        Field that a record must have; records without it are skipped.
    """

    entity: str
    places: Mapping[str, tuple[str, ...]]
    having: str

    def __post_init__(self) -> None:
        where = f"RawOf({self.entity!r})"
        require_identifier(where, "entity", self.entity)
        require_type(where, "places", self.places, Mapping)
        require_type(where, "having", self.having, str)
        if not self.places:
            raise DeclarationError(f"{where}: places is empty; write the paths of the records for each source")
        for source, paths in self.places.items():
            require_tuple(where, f"places[{source!r}]", paths, str, minimum=1)
            require_list_paths(where, f"places[{source!r}]", paths)
