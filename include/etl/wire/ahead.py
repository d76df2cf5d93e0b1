"""Ahead: ask for the next page while one is being kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

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
