from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from etl.sync.provider.pages import prefetch


class Pages:
    """A source of pages, the last of which may be an error; it records which were requested."""

    def __init__(self, *pages: int | Exception) -> None:
        self._pages = pages
        self.requested: list[int | Exception] = []

    async def read(self) -> AsyncIterator[int]:
        for page in self._pages:
            self.requested.append(page)
            await asyncio.sleep(0)
            if isinstance(page, Exception):
                raise page
            yield page


def test_pages_keep_their_order_and_none_is_lost() -> None:
    async def run() -> list[int]:
        return [page async for page in prefetch(Pages(1, 2, 3).read())]

    assert asyncio.run(run()) == [1, 2, 3]


def test_only_one_page_is_requested_while_another_is_processed() -> None:
    pages = Pages(1, 2, 3, 4)

    async def run() -> list[int | Exception]:
        async with aclosing(prefetch(pages.read())) as prefetched:
            await anext(prefetched)
            for _ in range(10):
                await asyncio.sleep(0)
            return list(pages.requested)

    assert asyncio.run(run()) == [1, 2]


def test_an_error_is_raised_after_the_pages_before_it() -> None:
    async def run() -> list[int]:
        pages = prefetch(Pages(1, 2, ValueError("broken")).read())
        prefetched = [await anext(pages), await anext(pages)]
        with pytest.raises(ValueError, match="broken"):
            await anext(pages)
        return prefetched

    assert asyncio.run(run()) == [1, 2]


def test_a_reader_that_stops_early_leaves_no_task_running() -> None:
    async def run() -> int:
        with pytest.raises(OSError, match="disk full"):
            async with aclosing(prefetch(Pages(1, ValueError("unseen")).read())) as prefetched:
                async for _ in prefetched:
                    await asyncio.sleep(0.01)
                    raise OSError("disk full")
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0
