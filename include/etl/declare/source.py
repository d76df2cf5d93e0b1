"""Sources of a provider's records: a feed of changes, a list, or another entity's raw batches.

A list is a snapshot of all records, a window of given days, or the recent days, which are read again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

from etl.declare.api.paging import PAGING_TYPES, EmptyPage, Flag, OffsetPaging, OnePage, Paging, ShortPage
from etl.declare.api.quota import Quota
from etl.declare.api.request import DAYS, LOGIN_CREDENTIALS, Placeholder, Request
from etl.declare.provider import LimitScope, RateLimit
from etl.declare.rules.envelope import require_own_places, require_separate_lists
from etl.declare.validation import (
    FIELD,
    require_count,
    require_duration,
    require_field_path,
    require_identifier,
    require_list_paths,
    require_record_paths,
    require_tuple,
    require_type,
)
from etl.errors import DeclarationError

PAGE_TOLERANCE = 4
"""Records of a page, as a multiple of those that were asked for, above which the page is not read. Providers count
differently what they were asked for; none sends thousands of records instead of hundreds."""

MAX_RECENT_DAYS = 3_660
"""Most days that a recent list may have: ten years."""


@dataclass(frozen=True, kw_only=True)
class Source(Request):
    """An endpoint that returns records.

    Parameters
    ----------
    name
        Name of the source; stored with its raw batches.
    upserts
        Paths of the records to insert or update, such as `added[]` or `transactions.booked[]`, in the order in which
        they are applied; of a `Snapshot` also `account{}`, if a page is about one record.
    limits
        Rate limits of the provider.
    page_size
        Records to request in one page.
    max_records
        Most records that a page may have; an account that gets a larger page is skipped. None for `PAGE_TOLERANCE`
        times the page size.
    optional
        Those of the lists that a page may lack, or have as null, if they are empty.
    quota
        Calls for each login that the provider allows in hours or days; None if it has no such limit.
    """

    name: str
    upserts: tuple[str, ...]
    limits: tuple[RateLimit, ...] = ()
    page_size: int = 1
    max_records: int | None = None
    optional: tuple[str, ...] = ()
    quota: Quota | None = None

    fills: ClassVar[frozenset[Placeholder]] = LOGIN_CREDENTIALS | {Placeholder.PAGE_SIZE}
    """Placeholders that are filled whatever its paging."""
    may_be_one_record: ClassVar[bool] = False
    """Whether a page may be about one record, without a list."""
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

    @property
    def lists(self) -> tuple[str, ...]:
        """Paths of the lists of a page that hold the records, each once, such as `transactions.booked`."""
        return tuple(dict.fromkeys(path.partition("[]")[0] for path in (*self.upserts, *self.removals)))

    def __post_init__(self) -> None:
        where = f"source {self.name}"
        require_identifier(where, "name", self.name)
        require_tuple(where, "upserts", self.upserts, str, minimum=1)
        (require_record_paths if self.may_be_one_record else require_list_paths)(where, "upserts", self.upserts)
        require_list_paths(where, "deletes", self.removals)
        require_separate_lists(where, (*self.upserts, *self.removals))
        require_tuple(where, "limits", self.limits, RateLimit)
        for scope in LimitScope:
            if len([limit for limit in self.limits if limit.scope is scope]) > 1:
                raise DeclarationError(
                    f"{where}: limits has several of LimitScope.{scope.name}, which would share one count; keep the "
                    "one that is reached first, or declare a Quota for hours and days"
                )
        require_type(where, "quota", self.quota, Quota, type(None))
        require_count(where, "page_size", self.page_size, minimum=1)
        if self.max_records is not None:
            require_count(where, "max_records", self.max_records, minimum=self.page_size)
        require_tuple(where, "optional", self.optional, str)
        if len(set(self.optional)) < len(self.optional):
            raise DeclarationError(f"{where}: optional names a list twice; remove one")
        for path in self.optional:
            if path not in (*self.upserts, *self.removals):
                raise DeclarationError(f"{where}: optional has {path!r}, which is none of its lists; name one of them")
        self.check_request(where, self.fills | self.required_placeholders.keys(), f"a {type(self).__name__}")
        for placeholder, consequence in self.required_placeholders.items():
            self._require_placeholder(placeholder, consequence)

    def _require_placeholder(self, placeholder: Placeholder, consequence: str) -> None:
        if placeholder not in self.placeholders:
            raise DeclarationError(
                f"source {self.name}: its request has no Placeholder.{placeholder.name}, so {consequence}; add it"
            )


@dataclass(frozen=True, kw_only=True)
class Feed(Source):
    """A feed of changes, read page by page from a cursor until it is drained.

    Parameters
    ----------
    deletes
        Paths of the records to remove; applied after the upserts of the same page.
    cursor
        Path of the cursor to continue from; empty while the provider is not ready.
    more
        Path of a field that is true while the feed has more pages, a `Flag`, or `EmptyPage()` if the feed ends with a
        page without records.
    cursor_life
        Time for which a cursor is valid; a report warns of cursors that are about to expire. None if they never do.
    history
        How far back the provider promises to send records of a new login, if it is linked as usual; None if it promises
        nothing. Kept per login, since `sluice link --history-days` may say otherwise.
    """

    deletes: tuple[str, ...] = ()
    cursor: str
    more: str | Flag | EmptyPage
    cursor_life: timedelta | None = None
    history: timedelta | None = None

    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {Placeholder.CURSOR: "every page would be the first"}

    @property
    def removals(self) -> tuple[str, ...]:
        """Paths of the records to remove."""
        return self.deletes

    @property
    def end(self) -> Flag | EmptyPage:
        """How its end is recognised."""
        return Flag(self.more) if isinstance(self.more, str) else self.more

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"source {self.name}"
        require_field_path(where, "cursor", self.cursor)
        require_type(where, "more", self.more, str, Flag, EmptyPage)
        if isinstance(self.more, str):
            require_field_path(where, "more", self.more)
        for name in ("cursor_life", "history"):
            if (duration := getattr(self, name)) is not None:
                require_duration(where, name, duration)
        more = {"more": self.end.path} if isinstance(self.end, Flag) else {}
        require_own_places(where, {"cursor": self.cursor, **more}, self.lists)


@dataclass(frozen=True, kw_only=True)
class Listing(Source):
    """A list of records, read page by page to its end.

    Parameters
    ----------
    paging
        How its pages follow one another.
    """

    paging: Paging = field(default_factory=OnePage)

    def __post_init__(self) -> None:
        where = f"source {self.name}"
        require_type(where, "paging", self.paging, *PAGING_TYPES)
        super().__post_init__()
        if self.paging.placeholder is not None:
            self._require_placeholder(self.paging.placeholder, "every page would be the first")
        for placeholder in _PAGING_PLACEHOLDERS & self.placeholders - {self.paging.placeholder}:
            raise DeclarationError(
                f"{where}: its request has Placeholder.{placeholder.name}, which {type(self.paging).__name__} never "
                "fills; remove it, or declare its paging"
            )
        if isinstance(self.paging.end, ShortPage):
            self._require_placeholder(Placeholder.PAGE_SIZE, "it is unknown which page is short")
        _require_countable(self)
        fields = {"paging": getattr(self.paging, "path", None), "end": getattr(self.paging.end, "path", None)}
        require_own_places(where, {name: path for name, path in fields.items() if path is not None}, self.lists)


@dataclass(frozen=True, kw_only=True)
class Snapshot(Listing):
    """All records of an account."""

    max_records: int | None = 10_000

    may_be_one_record: ClassVar[bool] = True
    may_nest: ClassVar[bool] = False
    """Whether its records may be in lists within others."""
    fills: ClassVar[frozenset[Placeholder]] = Listing.fills | {
        Placeholder.OFFSET,
        Placeholder.PAGE_NUMBER,
        Placeholder.PAGE_TOKEN,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.may_nest:
            _require_top_level(self)


@dataclass(frozen=True, kw_only=True)
class Window(Listing):
    """The records of a range of days."""

    fills: ClassVar[frozenset[Placeholder]] = Snapshot.fills | DAYS
    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {
        Placeholder.FIRST_DAY: "every window would be the same",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_top_level(self)
        if Placeholder.DAY_AFTER_LAST not in self.placeholders:
            self._require_placeholder(Placeholder.LAST_DAY, "every window would end today")


@dataclass(frozen=True, kw_only=True)
class Recent(Snapshot):
    """The records of the last days, where a provider has no feed of changes: each run reads them again.

    The windows of two runs overlap, so that late and changed records are found. A row whose date lies in a window that
    was read to its end, and that is not in it any more, ends; if too many rows of a login would end, they wait until a
    person approves it, as after a full read (`Entity.tolerated_absences`). If runs were missed, the window begins a
    week before the end of the last one; if lists lacked records, before the end of the last one that lacked none.

    Parameters
    ----------
    days
        Length of the window, which ends today, in UTC, by the clock of the warehouse.
    dated_by
        Column with the date of a record by which the provider selects it.
    pending
        Column that is true for pending records. They have no lasting date and are all in every window; None if the
        provider sends none.
    account
        Column with the account of a record, where a window has those of several accounts: rows of an account that is
        not in it at all do not end. None if a login is one account.
    first_days
        Length of the first window of a login, and of the longest one after lists that lacked records; None for `days`.
    days_per_request
        Most days that the provider sends at once; a longer window is read in parts, the earliest first. None if it has
        no such limit.
    """

    days: int
    dated_by: str
    pending: str | None = None
    account: str | None = None
    first_days: int | None = None
    days_per_request: int | None = None
    max_records: int | None = 100_000

    may_be_one_record: ClassVar[bool] = False
    may_nest: ClassVar[bool] = True
    fills: ClassVar[frozenset[Placeholder]] = Window.fills
    required_placeholders: ClassVar[Mapping[Placeholder, str]] = {
        Placeholder.FIRST_DAY: "it is unknown which days the provider sends",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        where = f"source {self.name}"
        require_count(where, "days", self.days, minimum=2, maximum=MAX_RECENT_DAYS)
        require_type(where, "dated_by", self.dated_by, str)
        require_type(where, "pending", self.pending, str, type(None))
        require_type(where, "account", self.account, str, type(None))
        if self.account is None and any(path.count("[]") > 1 for path in self.upserts):
            raise DeclarationError(
                f"{where}: its records are in lists within others, so that a part of them may be missing; name the "
                "column of the outer record in account"
            )
        if self.first_days is not None:
            require_count(where, "first_days", self.first_days, minimum=self.days, maximum=MAX_RECENT_DAYS)
        if self.days_per_request is not None:
            require_count(where, "days_per_request", self.days_per_request, minimum=1)
            if not self.placeholders & {Placeholder.LAST_DAY, Placeholder.DAY_AFTER_LAST}:
                raise DeclarationError(
                    f"{where}: days_per_request is given, but its request does not say its last day; add "
                    "Placeholder.LAST_DAY, or DAY_AFTER_LAST"
                )


_PAGING_PLACEHOLDERS = frozenset({Placeholder.OFFSET, Placeholder.PAGE_NUMBER, Placeholder.PAGE_TOKEN})


def _require_top_level(source: Source) -> None:
    """Refuse records nested in other records, since a page is checked for completeness by its top-level lists."""
    for path in source.upserts:
        if path.count("[]") > 1:
            outer = path.partition("[]")[0] + "[]"
            raise DeclarationError(f"source {source.name}: upserts has {path!r}, a list within others; write {outer!r}")


def _require_countable(source: Listing) -> None:
    if isinstance(source.paging, OffsetPaging) and len(source.upserts) > 1:
        raise DeclarationError(
            f"source {source.name}: upserts has {len(source.upserts)} paths, but an offset counts one; keep one"
        )
    if isinstance(source.paging, OffsetPaging) and source.paging.end is not None:
        _require_top_level(source)


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
        if not FIELD.fullmatch(self.having):
            raise DeclarationError(f"{where}: having is {self.having!r}; write the name of a field, without dots")
        if not self.places:
            raise DeclarationError(f"{where}: places is empty; write the paths of the records for each source")
        for source, paths in self.places.items():
            require_tuple(where, f"places[{source!r}]", paths, str, minimum=1)
            require_list_paths(where, f"places[{source!r}]", paths)
