"""Reading of one provider account's pages from a feed or a list, and their prefetching."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import msgspec

from etl.chunking import DayRange
from etl.declare.api.paging import Flag, OffsetPaging, PageNumberPaging
from etl.declare.provider import ErrorAction, Placeholder
from etl.declare.source import Feed, Listing, Recent, Source, Window
from etl.sync.provider import envelope
from etl.sync.provider.client import Call, ProviderCallFailed, ProviderClient, Response
from etl.sync.provider.envelope import Envelope
from etl.sync.provider.pager import Pager
from etl.sync.provider.requests import describe_request, secret_parameters
from etl.sync.records.documents import Leaf
from etl.sync.records.frames import Gap, Header

MAX_CURSOR_LENGTH = 256
"""Longest cursor, in characters; no provider documents a longer one."""

_FORBIDDEN_CHARACTERS = frozenset("\0\N{REPLACEMENT CHARACTER}")
"""Characters that make a cursor invalid: NUL, which Postgres cannot store, and the replacement of undecodable bytes."""

MAX_PAGES = 20_000
"""Most pages that are read of one account, over all downloads that continue one another; no bank has as many
transactions."""

_MIN_OVERLAPPING_PAGE = 2
"""Records of a page that overlaps with the page before: the last of that page, and a new one."""


_PART_STATE = re.compile(r"([\d-]{10})/([\d-]{10})/(\d+)/(\d+)/(.*)", re.DOTALL)


class FeedEndless(ProviderCallFailed):
    """The cursors of a feed repeat, or it has more pages than any; what was read of it is of no use."""

    def __init__(self, pages: int) -> None:
        super().__init__(ErrorAction.RETRY, f"a feed that does not end, after {pages} pages")


@dataclass(frozen=True)
class FeedPosition:
    """Where the reading of a feed begins or continues.

    Parameters
    ----------
    cursor
        The cursor to send; empty for the beginning of the feed.
    pages
        Number of pages that were read before.
    seen_cursors
        Cursors that led to these pages; if one comes again, the feed does not end.
    """

    cursor: str
    pages: int = 0
    seen_cursors: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AccountReader:
    """Reads the pages of one provider account; they are complete when an iterator ends without an error.

    Parameters
    ----------
    client
        Sends the requests.
    provider_account_id
        The account.
    access_token
        Its access token, in clear text; never shown in a representation.
    page_size
        Records to request per page.
    generation
        Generation of the account's cursor; None if the source is no feed.
    max_size
        Most bytes of a page, if fewer than any page may have.
    item_id
        The provider's id of the account; empty if it has none.
    """

    client: ProviderClient
    provider_account_id: int
    access_token: str = field(repr=False)
    page_size: int
    generation: int | None = None
    max_size: int | None = None
    item_id: str = ""

    def read_feed(self, feed: Feed, position: FeedPosition) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of changes since a position, until there are no more.

        Raises
        ------
        ProviderCallFailed
            If the feed must be restarted or the account skipped, or the provider could not be reached.
        FeedEndless
            If it would never end.
        AnswerTooLarge
            If a page has more records than the feed declares.
        ProviderRefused
            If no rule covers a response.
        """
        return self._feed_pages(feed, position)

    async def read_full_feed(
        self, feed: Feed, position: FeedPosition, *, stored_cursor: str
    ) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of a feed that is read from its beginning; raise as `read_feed` does.

        Parameters
        ----------
        stored_cursor
            The account's stored cursor; it becomes `cursor_from` of the first page, so that the load detects whether
            another batch moved it meanwhile.
        """
        async for header, body in self._feed_pages(feed, position):
            cursor_from = header.cursor_from if header.page else stored_cursor
            yield msgspec.structs.replace(header, cursor_from=cursor_from, whole=True), body

    async def _feed_pages(self, feed: Feed, position: FeedPosition) -> AsyncIterator[tuple[Header, bytes]]:
        cursor, ordinal, has_more = position.cursor, position.pages, True
        seen_cursors = {cursor, *position.seen_cursors}
        fields: envelope.Fields = ((feed.cursor, Leaf(str)),)
        if isinstance(feed.end, Flag):
            fields += ((feed.end.path, Leaf(bool)),)
        while has_more:
            values: dict[Placeholder, object] = {Placeholder.CURSOR: cursor}
            page = await self._request_page(feed, values, fields, page_size=self.page_size)
            next_cursor = str(page.envelope.fields[0])
            has_more = page.envelope.fields[1] is feed.end.more if isinstance(feed.end, Flag) else page.has_records
            if not next_cursor:
                raise ProviderCallFailed(ErrorAction.NOT_READY, "an empty cursor")
            if len(next_cursor) > MAX_CURSOR_LENGTH or not _FORBIDDEN_CHARACTERS.isdisjoint(next_cursor):
                raise ProviderCallFailed(
                    ErrorAction.RETRY,
                    f"a cursor of {len(next_cursor)} characters that is too long or holds an invalid character",
                )
            header = self._header(feed, values, page, ordinal=ordinal, page_size=self.page_size)
            yield (
                msgspec.structs.replace(header, cursor_from=cursor, cursor_to=next_cursor, generation=self.generation),
                page.body,
            )
            ordinal += 1
            if has_more and (next_cursor in seen_cursors or ordinal >= MAX_PAGES):
                raise FeedEndless(ordinal)
            seen_cursors.add(next_cursor)
            cursor = next_cursor

    async def read_list(
        self, source: Listing, *, days: DayRange | None = None, state: str = "", pages: int = 0
    ) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of a list; raise as `read_feed` does, and to restart if the list changes meanwhile.

        Parameters
        ----------
        days
            The days that are read; None for a list without days.
        state, pages
            Where to begin, as `cursor_to` of a header says, and the number of pages before it.
        """
        page_size = self.page_size
        if isinstance(source.paging, OffsetPaging) and source.paging.identity:
            page_size = max(page_size, _MIN_OVERLAPPING_PAGE)
        parts = _parts_of(source, days)
        first, _, pages_before, inner = _split_state(state)
        part = parts.index(first) if first else 0
        secrets = secret_parameters(source, self.client.provider.auth)
        pager, cursor_from = Pager(source, page_size, inner, pages - pages_before, secrets), state
        while not (pager.is_done and part == len(parts) - 1):
            if pager.is_done:
                part, pages_before = part + 1, pages_before + pager.pages
                pager = Pager(source, page_size, secrets=secrets)
            ordinal = pages_before + pager.pages
            values = {**_day_values(parts[part]), **pager.values}
            page = await self._request_page(source, values, pager.fields, page_size=page_size, link=pager.link)
            pager.follow(page.envelope, page.headers)
            header = self._header(source, values, page, ordinal=ordinal, page_size=page_size)
            if isinstance(source, Recent) and days is not None:
                cursor_to = _join_state(parts[part], page_size, pages_before, pager.state)
                if pager.is_done:
                    is_last = part + 1 == len(parts)
                    cursor_to = "" if is_last else _join_state(parts[part + 1], page_size, ordinal + 1, "")
                header = msgspec.structs.replace(
                    header,
                    cursor_from=cursor_from,
                    cursor_to=cursor_to,
                    whole=not pages,
                    first_day=days.first,
                    last_day=days.last,
                )
                cursor_from = cursor_to
            yield header, page.body
            if ordinal + 1 >= MAX_PAGES and not pager.is_done:
                noun = "window" if isinstance(source, Window) else "list"
                raise ProviderCallFailed(ErrorAction.RETRY, f"a {noun} that does not end, after {ordinal + 1} pages")

    async def _request_page(
        self,
        source: Source,
        values: Mapping[Placeholder, object],
        fields: envelope.Fields,
        *,
        page_size: int,
        link: str = "",
    ) -> _Page:
        def parse(response: Response) -> _Page:
            parsed = envelope.parse_page(source, fields, page_size, response.body)
            return _Page(response.body, response.headers, parsed, response.gaps)

        login = {Placeholder.ACCESS_TOKEN: self.access_token, Placeholder.ITEM_ID: self.item_id}
        call = Call(
            source.limits,
            source.name,
            self.provider_account_id,
            sends_cursor=bool(values.get(Placeholder.CURSOR)),
            quota=source.quota,
        )
        return await self.client.send(
            source,
            {**values, **login, Placeholder.PAGE_SIZE: page_size},
            parse=parse,
            call=call,
            link=link,
            max_size=self.max_size,
        )

    def _header(
        self, source: Source, values: Mapping[Placeholder, object], page: _Page, *, ordinal: int, page_size: int
    ) -> Header:
        shown = {**values, Placeholder.ITEM_ID: self.item_id, Placeholder.PAGE_SIZE: page_size}
        return Header(
            provider_account_id=self.provider_account_id,
            page=ordinal,
            path=source.path,
            request=describe_request(source, shown),
            cursor_from="",
            cursor_to="",
            received_at=datetime.now(UTC),
            size=len(page.body),
            item_id=self.item_id if Placeholder.ITEM_ID in source.placeholders else "",
            gaps=page.gaps,
        )


@dataclass(frozen=True)
class _Page:
    """A page, with the headers of its response, and what it says that it lacks."""

    body: bytes
    headers: Mapping[str, str]
    envelope: Envelope
    gaps: tuple[Gap, ...]

    @property
    def has_records(self) -> bool:
        """Whether it has any record."""
        return self.envelope.records > 0


def is_continuable(source: Recent, days: DayRange, state: str, *, page_size: int) -> bool:
    """Return whether `read_list` can continue at a position: days and records are still requested in the same parts."""
    part, earlier_size, *_ = _split_state(state)
    if part is None:
        return True
    is_same_size = earlier_size == page_size or not isinstance(source.paging, PageNumberPaging)
    return is_same_size and part in _parts_of(source, days)


def _parts_of(source: Listing, days: DayRange | None) -> Sequence[DayRange | None]:
    """Return the days of each request, as long as the provider allows; all at once if it has no limit."""
    size = source.days_per_request if isinstance(source, Recent) else None
    return days.split(size) if days is not None and size is not None else [days]


def _join_state(part: DayRange | None, page_size: int, pages_before: int, state: str) -> str:
    """Return where to continue: in which part of the days, after how many pages of earlier parts, and where in it."""
    return f"{part.first}/{part.last}/{page_size}/{pages_before}/{state}" if part else state


def _split_state(state: str) -> tuple[DayRange | None, int, int, str]:
    """Return what `_join_state` has joined."""
    if match := _PART_STATE.fullmatch(state):
        part = DayRange(date.fromisoformat(match[1]), date.fromisoformat(match[2]))
        return part, int(match[3]), int(match[4]), match[5]
    return None, 0, 0, state


def _day_values(days: DayRange | None) -> dict[Placeholder, object]:
    if days is None:
        return {}
    return {
        Placeholder.FIRST_DAY: days.first,
        Placeholder.LAST_DAY: days.last,
        Placeholder.DAY_AFTER_LAST: days.last + timedelta(days=1),
    }


T = TypeVar("T")


async def prefetch(pages: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield pages in order, reading the next one while the current one is processed; raise what `pages` raises."""
    next_page = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await next_page) is not None:
            next_page = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        next_page.cancel()
        await asyncio.wait([next_page])
        if not next_page.cancelled():
            # Retrieve the error, so that asyncio does not log it; it is not raised, as something else ended the pages.
            next_page.exception()
