"""Reading of one provider account's pages from a feed, a snapshot or a window, and their prefetching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from etl.chunking import DayRange
from etl.declare.provider import ErrorAction, Placeholder
from etl.declare.source import Feed, Source, Window
from etl.sync.provider import envelope
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, fill_template
from etl.sync.records.frames import Header

MAX_CURSOR_LENGTH = 256
"""Longest cursor, in characters, as Plaid documents it."""

_FORBIDDEN_CHARACTERS = frozenset("\0\N{REPLACEMENT CHARACTER}")
"""Characters that make a cursor invalid: NUL, which Postgres cannot store, and the replacement of undecodable bytes."""

MAX_PAGES = 20_000
"""Most pages that are read of one account, over all downloads that continue one another; no bank has as many
transactions."""

_MIN_WINDOW_PAGE = 2
"""Records of a page of a window: the last of the page before, and a new one."""


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
    """

    client: ProviderClient
    provider_account_id: int
    access_token: str = field(repr=False)
    page_size: int
    generation: int | None = None
    max_size: int | None = None

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
        while has_more:
            values: dict[Placeholder, object] = {Placeholder.CURSOR: cursor}
            body, (next_cursor, has_more, *_) = await self._request_page(
                feed, values, ((feed.cursor, str), (feed.more, bool)), page_size=self.page_size
            )
            if not next_cursor:
                raise ProviderCallFailed(ErrorAction.NOT_READY, "an empty cursor")
            if len(next_cursor) > MAX_CURSOR_LENGTH or not _FORBIDDEN_CHARACTERS.isdisjoint(next_cursor):
                raise ProviderCallFailed(
                    ErrorAction.RETRY,
                    f"a cursor of {len(next_cursor)} characters that is too long or holds an invalid character",
                )
            header = self._header(feed, values, body, page=ordinal, page_size=self.page_size)
            yield (
                msgspec.structs.replace(header, cursor_from=cursor, cursor_to=next_cursor, generation=self.generation),
                body,
            )
            ordinal += 1
            if has_more and (next_cursor in seen_cursors or ordinal >= MAX_PAGES):
                raise FeedEndless(ordinal)
            seen_cursors.add(next_cursor)
            cursor = next_cursor

    async def read_snapshot(self, snapshot: Source) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the only page of a snapshot; raise as `read_feed` does."""
        body, _ = await self._request_page(snapshot, {}, (), page_size=self.page_size)
        yield self._header(snapshot, {}, body, page=0, page_size=self.page_size), body

    async def read_window(self, window: Window, *, days: DayRange) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of some days; raise as `read_feed` does, and to restart if the window changes meanwhile.

        Each page begins with the last record of the page before. If it does not, records were added or removed before
        that place, and others would be skipped unnoticed, although the total may be the same.
        """
        page_size = max(self.page_size, _MIN_WINDOW_PAGE)
        offset, ordinal = 0, 0
        expected_total: int | None = None
        last_record: object = None
        while expected_total is None or offset < expected_total:
            overlap = 1 if offset else 0
            values = {
                Placeholder.FIRST_DAY: days.first.isoformat(),
                Placeholder.LAST_DAY: days.last.isoformat(),
                Placeholder.OFFSET: offset - overlap,
            }
            body, (total, records) = await self._request_page(
                window, values, ((window.total, int),), page_size=page_size
            )
            is_continued = not overlap or _identity(window, records[:1]) == last_record
            if expected_total not in (None, total) or not is_continued or (len(records) <= overlap and offset < total):
                raise ProviderCallFailed(ErrorAction.RESTART_FEED, "a window that changed while it was read")
            yield self._header(window, values, body, page=ordinal, page_size=page_size), body
            offset, expected_total, ordinal = offset + len(records) - overlap, total, ordinal + 1
            last_record = _identity(window, records[-1:])
            if ordinal >= MAX_PAGES and offset < total:
                raise ProviderCallFailed(ErrorAction.RETRY, f"a window that does not end, after {ordinal} pages")

    async def _request_page(
        self,
        source: Source,
        values: Mapping[Placeholder, object],
        fields: envelope.Fields,
        *,
        page_size: int,
    ) -> tuple[bytes, tuple[Any, ...]]:
        """Return a page, and the values of its envelope: the fields, then each list with its records undecoded."""
        secrets = {Placeholder.ACCESS_TOKEN: self.access_token, Placeholder.PAGE_SIZE: page_size}
        return await self.client.post(
            source.path,
            fill_template(source.request, {**values, **secrets}),
            parse=partial(envelope.parse_page, source, fields, page_size),
            limits=source.limits,
            feed=source.name,
            provider_account_id=self.provider_account_id,
            cursor=str(values.get(Placeholder.CURSOR, "")),
            max_size=self.max_size,
        )

    def _header(
        self, source: Source, values: Mapping[Placeholder, object], body: bytes, *, page: int, page_size: int
    ) -> Header:
        return Header(
            provider_account_id=self.provider_account_id,
            page=page,
            path=source.path,
            request=fill_template(source.request, {**values, Placeholder.PAGE_SIZE: page_size}),
            cursor_from="",
            cursor_to="",
            received_at=datetime.now(UTC),
            size=len(body),
        )


def _identity(window: Window, records: Sequence[msgspec.Raw]) -> object:
    """Return what identifies the only record of a list; None if it is empty."""
    return envelope.read_identity(records[0], window.identity) if records else None


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
