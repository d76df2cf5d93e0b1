from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from etl.sync.provider.pages import prefetch


class Pages:
    """Pages, the last of which may be an error, and what was asked for so far."""

    def __init__(self, *pages: int | Exception) -> None:
        self._pages = pages
        self.asked: list[int | Exception] = []

    async def read(self) -> AsyncIterator[int]:
        for page in self._pages:
            self.asked.append(page)
            await asyncio.sleep(0)
            if isinstance(page, Exception):
                raise page
            yield page


def test_pages_keep_their_order_and_none_is_lost() -> None:
    async def run() -> list[int]:
        return [page async for page in prefetch(Pages(1, 2, 3).read())]

    assert asyncio.run(run()) == [1, 2, 3]


def test_the_next_page_is_on_its_way_while_one_is_kept_and_no_more_than_one() -> None:
    pages = Pages(1, 2, 3, 4)

    async def run() -> list[int | Exception]:
        async with aclosing(prefetch(pages.read())) as found:
            await anext(found)
            for _ in range(10):
                await asyncio.sleep(0)
            return list(pages.asked)

    assert asyncio.run(run()) == [1, 2]


def test_an_error_comes_after_the_pages_before_it() -> None:
    async def run() -> list[int]:
        pages = prefetch(Pages(1, 2, ValueError("broken")).read())
        found = [await anext(pages), await anext(pages)]
        with pytest.raises(ValueError, match="broken"):
            await anext(pages)
        return found

    assert asyncio.run(run()) == [1, 2]


def test_whoever_stops_early_leaves_nothing_under_way() -> None:
    async def run() -> int:
        with pytest.raises(OSError, match="disk full"):
            async with aclosing(prefetch(Pages(1, ValueError("unseen")).read())) as found:
                async for _ in found:
                    await asyncio.sleep(0.01)
                    raise OSError("disk full")
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0
