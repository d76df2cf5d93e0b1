"""Reading of one provider account's pages from a feed, a snapshot or a window, and their prefetching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar

import msgspec

from etl.chunking import DayRange
from etl.declare.provider import ErrorAction, Placeholder
from etl.declare.source import Feed, Source, Window
from etl.json_text import DECODE_ERRORS, repair_unicode
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, fill_template
from etl.sync.records.frames import Header

MAX_CURSOR_LENGTH = 256
"""Longest cursor, in characters, as Plaid documents it."""

_FORBIDDEN_CHARACTERS = frozenset("\0\N{REPLACEMENT CHARACTER}")
"""Characters that make a cursor invalid: NUL, which Postgres cannot store, and the replacement of undecodable bytes."""

MAX_PAGES = 20_000
"""Most pages that are read of one account in one download; no bank has as many transactions."""


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
        Generation of the account's cursor, kept with each page.
    """

    client: ProviderClient
    provider_account_id: int
    access_token: str = field(repr=False)
    page_size: int
    generation: int = 0

    def read_feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of changes since a cursor, until there are no more.

        Raises
        ------
        ProviderCallFailed
            If the feed must be restarted or the account skipped, or the provider could not be reached.
        ProviderRefused
            If no rule covers a response.
        """
        return self._feed_pages(feed, cursor)

    async def read_full_feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield all pages of a feed from its beginning; raise as `read_feed` does.

        Parameters
        ----------
        cursor
            The account's stored cursor; it becomes `cursor_from` of the first page, so that the load detects whether
            another batch moved it meanwhile.
        """
        async for header, body in self._feed_pages(feed, ""):
            cursor_from = header.cursor_from if header.page else cursor
            yield msgspec.structs.replace(header, cursor_from=cursor_from, whole=True), body

    async def _feed_pages(self, feed: Feed, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        has_more, ordinal, seen_cursors = True, 0, {cursor}
        while has_more:
            values: dict[Placeholder, object] = {Placeholder.CURSOR: cursor}
            body, (next_cursor, has_more, *_) = await self._request_page(
                feed, values, (feed.cursor, str), (feed.more, bool)
            )
            if not next_cursor:
                raise ProviderCallFailed(ErrorAction.NOT_READY, "an empty cursor")
            if len(next_cursor) > MAX_CURSOR_LENGTH or not _FORBIDDEN_CHARACTERS.isdisjoint(next_cursor):
                raise ProviderCallFailed(
                    ErrorAction.RETRY,
                    f"a cursor of {len(next_cursor)} characters that is too long or holds an invalid character",
                )
            yield self._header(feed, values, body, page=ordinal, cursor_from=cursor, cursor_to=next_cursor), body
            ordinal += 1
            if has_more and (next_cursor in seen_cursors or ordinal == MAX_PAGES):
                raise ProviderCallFailed(ErrorAction.RETRY, f"a feed that does not end, after {ordinal} pages")
            seen_cursors.add(next_cursor)
            cursor = next_cursor

    async def read_snapshot(self, snapshot: Source) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the only page of a snapshot; raise as `read_feed` does."""
        body, _ = await self._request_page(snapshot, {})
        yield self._header(snapshot, {}, body, page=0), body

    async def read_window(self, window: Window, *, days: DayRange) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of some days; raise as `read_feed` does, and to restart if the window changes meanwhile."""
        offset, ordinal = 0, 0
        expected_total: int | None = None
        while expected_total is None or offset < expected_total:
            values = {
                Placeholder.FIRST_DAY: days.first.isoformat(),
                Placeholder.LAST_DAY: days.last.isoformat(),
                Placeholder.OFFSET: offset,
            }
            body, (total, records) = await self._request_page(window, values, (window.total, int))
            if expected_total not in (None, total) or (not records and offset < total):
                raise ProviderCallFailed(ErrorAction.RESTART_FEED, "a window that changed while it was read")
            yield self._header(window, values, body, page=ordinal), body
            offset, expected_total, ordinal = offset + len(records), total, ordinal + 1
            if ordinal == MAX_PAGES:
                raise ProviderCallFailed(ErrorAction.RETRY, f"a window that does not end, after {ordinal} pages")

    async def _request_page(
        self, source: Source, values: Mapping[Placeholder, object], *fields: tuple[str, type]
    ) -> tuple[bytes, tuple[Any, ...]]:
        """Return a page, and the values of its envelope: the fields, then each list with its records undecoded."""
        secrets = {Placeholder.ACCESS_TOKEN: self.access_token, Placeholder.PAGE_SIZE: self.page_size}
        return await self.client.post(
            source.path,
            fill_template(source.request, {**values, **secrets}),
            parse=partial(
                _parse_page, _envelope_decoder(fields, tuple(map(_list_name, (*source.upserts, *source.removals))))
            ),
            limits=source.limits,
            feed=source.name,
            provider_account_id=self.provider_account_id,
        )

    def _header(
        self,
        source: Source,
        values: Mapping[Placeholder, object],
        body: bytes,
        *,
        page: int,
        cursor_from: str = "",
        cursor_to: str = "",
    ) -> Header:
        return Header(
            provider_account_id=self.provider_account_id,
            page=page,
            path=source.path,
            request=fill_template(source.request, {**values, Placeholder.PAGE_SIZE: self.page_size}),
            cursor_from=cursor_from,
            cursor_to=cursor_to,
            received_at=datetime.now(UTC),
            size=len(body),
            generation=self.generation,
        )


def _parse_page(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> tuple[bytes, tuple[Any, ...]]:
    try:
        return body, msgspec.structs.astuple(_decode_envelope(decoder, body))
    except DECODE_ERRORS:
        raise ProviderCallFailed(ErrorAction.RETRY, "a page that is not JSON of the declared shape") from None


def _decode_envelope(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS:
        return decoder.decode(repair_unicode(body))


def _list_name(path: str) -> str:
    """Return the name of the page's list in which the records of a path are."""
    return path.partition("[]")[0]


@cache
def _envelope_decoder(
    fields: tuple[tuple[str, type], ...], lists: tuple[str, ...]
) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of the fields and lists that every page must have; an absent list is an error."""
    return msgspec.json.Decoder(
        msgspec.defstruct("Envelope", [*fields, *((name, list[msgspec.Raw]) for name in lists)])
    )


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
