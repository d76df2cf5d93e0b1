"""The pages of one provider account, from a feed, a snapshot or a window; complete when the iterator ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, TypeVar

import msgspec

from etl.chunking import Days
from etl.declare.provider import ErrorAction, Placeholder
from etl.declare.source import Feed, Source, Window
from etl.json_text import DECODE_ERRORS, repair_unicode
from etl.sync.provider.client import ProviderCallFailed, ProviderClient, fill_template
from etl.sync.records.frames import Header

MAX_CURSOR_LENGTH = 256
"""Characters of a cursor, as Plaid documents it."""

_FORBIDDEN_CHARACTERS = frozenset("\0\N{REPLACEMENT CHARACTER}")
"""Characters that no cursor has: one that Postgres cannot store, and what stands for bytes that are no text."""

MAX_PAGES = 20_000
"""Pages of one account that are read in one go; no bank has as many transactions."""


@dataclass(frozen=True)
class AccountReader:
    """Reads one provider account.

    Parameters
    ----------
    client
        Asks the provider.
    provider_account_id, access_token
        The account, and what gives access to it, in clear; never shown in a representation.
    page_size
        Records to ask for in one page.
    """

    client: ProviderClient
    provider_account_id: int
    access_token: str = field(repr=False)
    page_size: int

    def read_feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the changes since a cursor, until there are no more.

        Raises
        ------
        Refused
            If the provider asks to restart the feed, to leave the account out, or could not be reached.
        ProviderRefused
            If no rule covers an answer.
        """
        return self._feed_pages(feed, cursor)

    async def read_full_feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield all that a feed has, in place of the changes since a cursor; it raises as `read_feed` does."""
        async for header, body in self._feed_pages(feed, ""):
            stored = header.cursor_from if header.page else cursor
            yield msgspec.structs.replace(header, cursor_from=stored, whole=True), body

    async def _feed_pages(self, feed: Feed, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        more, ordinal, seen = True, 0, {cursor}
        while more:
            known: dict[Placeholder, object] = {Placeholder.CURSOR: cursor}
            body, (reached, more, *_) = await self._request_page(feed, known, (feed.cursor, str), (feed.more, bool))
            if not reached:
                raise ProviderCallFailed(ErrorAction.NOT_READY, "an empty cursor")
            if len(reached) > MAX_CURSOR_LENGTH or not _FORBIDDEN_CHARACTERS.isdisjoint(reached):
                raise ProviderCallFailed(
                    ErrorAction.RETRY, f"a cursor of {len(reached)} characters, or with one that cannot be kept"
                )
            yield self._header(feed, known, body, page=ordinal, cursor_from=cursor, cursor_to=reached), body
            ordinal += 1
            if more and (reached in seen or ordinal == MAX_PAGES):
                raise ProviderCallFailed(ErrorAction.RETRY, f"a feed that does not end, after {ordinal} pages")
            seen.add(reached)
            cursor = reached

    async def read_snapshot(self, snapshot: Source) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the one page of a snapshot; it raises as `read_feed` does."""
        body, _ = await self._request_page(snapshot, {})
        yield self._header(snapshot, {}, body, page=0), body

    async def read_window(self, window: Window, *, days: Days) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of some days; raises like `read_feed`, and asks for a restart if the window changes."""
        offset, ordinal = 0, 0
        expected: int | None = None
        while expected is None or offset < expected:
            known = {
                Placeholder.FIRST_DAY: days.first.isoformat(),
                Placeholder.LAST_DAY: days.last.isoformat(),
                Placeholder.OFFSET: offset,
            }
            body, (total, records) = await self._request_page(window, known, (window.total, int))
            if expected not in (None, total) or (not records and offset < total):
                raise ProviderCallFailed(ErrorAction.RESTART_FEED, "a window that changed while it was read")
            yield self._header(window, known, body, page=ordinal), body
            offset, expected, ordinal = offset + len(records), total, ordinal + 1
            if ordinal == MAX_PAGES:
                raise ProviderCallFailed(ErrorAction.RETRY, f"a window that does not end, after {ordinal} pages")

    async def _request_page(
        self, source: Source, values: Mapping[Placeholder, object], *fields: tuple[str, type]
    ) -> tuple[bytes, tuple[Any, ...]]:
        """Return a page and what its envelope holds: the fields, and then the records of each list, undecoded."""
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
        )


def _parse_page(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> tuple[bytes, tuple[Any, ...]]:
    try:
        return body, msgspec.structs.astuple(_decode_envelope(decoder, body))
    except DECODE_ERRORS:
        raise ProviderCallFailed(ErrorAction.RETRY, "a page that is not the source's JSON") from None


def _decode_envelope(decoder: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS:
        return decoder.decode(repair_unicode(body))


def _list_name(path: str) -> str:
    """Return the list of a page in which the records of a place are."""
    return path.partition("[]")[0]


@cache
def _envelope_decoder(
    fields: tuple[tuple[str, type], ...], lists: tuple[str, ...]
) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of what every page must have: a list that is absent is not an empty one."""
    return msgspec.json.Decoder(
        msgspec.defstruct("Envelope", [*fields, *((name, list[msgspec.Raw]) for name in lists)])
    )


T = TypeVar("T")


async def prefetch(pages: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """Yield pages in their order, one of them always on its way; it raises what `pages` does."""
    following = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await following) is not None:
            following = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        following.cancel()
        await asyncio.wait([following])
        if not following.cancelled():
            # Looked at, and not raised: something else ended the pages.
            following.exception()
