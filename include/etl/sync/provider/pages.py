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
from etl.declare.provider import Action, Fill
from etl.declare.source import Feed, Source, Window
from etl.json_text import UNDECODABLE, repaired
from etl.sync.provider.client import ProviderClient, Refused, fill
from etl.sync.records.frames import Header

LONGEST_CURSOR = 256
"""Characters of a cursor, as Plaid documents it."""

_UNFIT = frozenset("\0\N{REPLACEMENT CHARACTER}")
"""Characters that no cursor has: one that Postgres cannot store, and what stands for bytes that are no text."""

MOST_PAGES = 20_000
"""Pages of one account that are read in one go; no bank has as many transactions."""


@dataclass(frozen=True)
class Reader:
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

    def feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the changes since a cursor, until there are no more.

        Raises
        ------
        Refused
            If the provider asks to restart the feed, to leave the account out, or could not be reached.
        ProviderRefused
            If no rule covers an answer.
        """
        return self._feed(feed, cursor)

    async def whole_feed(self, feed: Feed, *, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield all that a feed has, in place of the changes since a cursor; it raises as `feed` does."""
        async for header, body in self._feed(feed, ""):
            stored = header.cursor_from if header.page else cursor
            yield msgspec.structs.replace(header, cursor_from=stored, whole=True), body

    async def _feed(self, feed: Feed, cursor: str) -> AsyncIterator[tuple[Header, bytes]]:
        more, ordinal, seen = True, 0, {cursor}
        while more:
            known: dict[Fill, object] = {Fill.CURSOR: cursor}
            body, (reached, more, *_) = await self._ask(feed, known, (feed.cursor, str), (feed.more, bool))
            if not reached:
                raise Refused(Action.NOT_READY, "an empty cursor")
            if len(reached) > LONGEST_CURSOR or not _UNFIT.isdisjoint(reached):
                raise Refused(Action.RETRY, f"a cursor of {len(reached)} characters, or with one that cannot be kept")
            yield self._header(feed, known, body, page=ordinal, cursor_from=cursor, cursor_to=reached), body
            ordinal += 1
            if more and (reached in seen or ordinal == MOST_PAGES):
                raise Refused(Action.RETRY, f"a feed that does not end, after {ordinal} pages")
            seen.add(reached)
            cursor = reached

    async def snapshot(self, snapshot: Source) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the one page of a snapshot; it raises as `feed` does."""
        body, _ = await self._ask(snapshot, {})
        yield self._header(snapshot, {}, body, page=0), body

    async def window(self, window: Window, *, days: Days) -> AsyncIterator[tuple[Header, bytes]]:
        """Yield the pages of some days; it raises as `feed` does, and to restart if the window changes meanwhile."""
        offset, ordinal = 0, 0
        expected: int | None = None
        while expected is None or offset < expected:
            known = {Fill.FIRST_DAY: days.first.isoformat(), Fill.LAST_DAY: days.last.isoformat(), Fill.OFFSET: offset}
            body, (total, records) = await self._ask(window, known, (window.total, int))
            if expected not in (None, total) or (not records and offset < total):
                raise Refused(Action.RESTART_FEED, "a window that changed while it was read")
            yield self._header(window, known, body, page=ordinal), body
            offset, expected, ordinal = offset + len(records), total, ordinal + 1
            if ordinal == MOST_PAGES:
                raise Refused(Action.RETRY, f"a window that does not end, after {ordinal} pages")

    async def _ask(
        self, source: Source, known: Mapping[Fill, object], *fields: tuple[str, type]
    ) -> tuple[bytes, tuple[Any, ...]]:
        """Return a page and what its envelope holds: the fields, and then the records of each list, undecoded."""
        secrets = {Fill.ACCESS_TOKEN: self.access_token, Fill.PAGE_SIZE: self.page_size}
        return await self.client.post(
            source.path,
            fill(source.request, {**known, **secrets}),
            read=partial(_opened, _envelope(fields, tuple(map(_list_of, (*source.upserts, *source.removals))))),
            limits=source.limits,
            feed=source.name,
            provider_account_id=self.provider_account_id,
        )

    def _header(
        self,
        source: Source,
        known: Mapping[Fill, object],
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
            request=fill(source.request, {**known, Fill.PAGE_SIZE: self.page_size}),
            cursor_from=cursor_from,
            cursor_to=cursor_to,
            received_at=datetime.now(UTC),
            size=len(body),
        )


def _opened(envelope: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> tuple[bytes, tuple[Any, ...]]:
    try:
        return body, msgspec.structs.astuple(_decoded(envelope, body))
    except UNDECODABLE:
        raise Refused(Action.RETRY, "a page that is not the source's JSON") from None


def _decoded(envelope: msgspec.json.Decoder[msgspec.Struct], body: bytes) -> msgspec.Struct:
    try:
        return envelope.decode(body)
    except UNDECODABLE:
        return envelope.decode(repaired(body))


def _list_of(place: str) -> str:
    """Return the list of a page in which the records of a place are."""
    return place.partition("[]")[0]


@cache
def _envelope(fields: tuple[tuple[str, type], ...], lists: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a decoder of what every page must have: a list that is absent is not an empty one."""
    return msgspec.json.Decoder(
        msgspec.defstruct("Envelope", [*fields, *((name, list[msgspec.Raw]) for name in lists)])
    )


Page = TypeVar("Page")


async def ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
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
