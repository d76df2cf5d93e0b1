"""Feeds, read page by page until they are drained."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cache, partial

import msgspec

from etl.declare.provider import Action, Feed, Fill
from etl.frames import Header
from etl.wire.client import ProviderClient, Refused, fill

MOST_PAGES = 20_000
"""Pages of one account that are read in one go; no bank has as many transactions."""


async def pages(
    client: ProviderClient, feed: Feed, *, provider_account_id: int, access_token: str, cursor: str, page_size: int
) -> AsyncIterator[tuple[Header, bytes]]:
    """Yield each page of an account's feed, from its cursor on; the feed is drained when the iterator ends.

    Raises
    ------
    Refused
        If the provider asks to restart the feed, to leave the account out, or could not be reached.
    ProviderRefused
        If no rule covers an answer.
    """
    more, ordinal = True, 0
    while more:
        known: dict[Fill, object] = {Fill.CURSOR: cursor, Fill.PAGE_SIZE: page_size}
        body, next_cursor, more = await client.post(
            feed.path,
            fill(feed.request, {**known, Fill.ACCESS_TOKEN: access_token}),
            read=partial(_page, feed),
            limits=feed.limits,
            feed=feed.name,
            provider_account_id=provider_account_id,
        )
        yield (
            Header(
                provider_account_id=provider_account_id,
                page=ordinal,
                path=feed.path,
                request=fill(feed.request, known),
                cursor_from=cursor,
                cursor_to=next_cursor,
                received_at=datetime.now(UTC),
                size=len(body),
            ),
            body,
        )
        if more and (next_cursor == cursor or ordinal + 1 == MOST_PAGES):
            raise Refused(Action.RETRY, f"a feed that does not end, after {ordinal + 1} pages")
        cursor, ordinal = next_cursor, ordinal + 1


def _page(feed: Feed, body: bytes) -> tuple[bytes, str, bool]:
    try:
        cursor, more = msgspec.structs.astuple(_envelope(feed.cursor, feed.more).decode(body))
    except msgspec.DecodeError:
        raise Refused(Action.RETRY, "a page that is not the feed's JSON") from None
    if not cursor:
        raise Refused(Action.NOT_READY, "an empty cursor")
    return body, cursor, more


@cache
def _envelope(cursor: str, more: str) -> msgspec.json.Decoder[msgspec.Struct]:
    return msgspec.json.Decoder(msgspec.defstruct("Envelope", [(cursor, str), (more, bool)]))
