"""Where a provider's records are read: a feed of changes, a snapshot, or a window of days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from etl.declare.provider import Fill, Limit
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

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return ()

    def __post_init__(self) -> None:
        for place in (*self.upserts, *self.removals):
            if not place.endswith("[]"):
                raise DeclarationError(f"source {self.name}: {place!r} names no list; write {place + '[]'!r}")

    def _needs(self, fill: Fill, otherwise: str) -> None:
        if fill not in _fills(self.request):
            raise DeclarationError(f"source {self.name}: its request has no Fill.{fill.name}; {otherwise}")


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

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return self.deletes

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs(Fill.CURSOR, "every page would be the first")


@dataclass(frozen=True, kw_only=True)
class Snapshot(Source):
    """All there is, in one page."""


@dataclass(frozen=True, kw_only=True)
class Window(Source):
    """The records of some days, read page by page by offset.

    Parameters
    ----------
    total
        Field that holds how many records the window has.
    """

    total: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._needs(Fill.FIRST_DAY, "every window would be the same")
        self._needs(Fill.LAST_DAY, "every window would be the same")
        self._needs(Fill.OFFSET, "every page would be the first")


def _fills(template: Mapping[str, object]) -> set[Fill]:
    found: set[Fill] = set()
    for value in template.values():
        if isinstance(value, Mapping):
            found |= _fills(value)
        elif isinstance(value, Fill):
            found.add(value)
    return found
