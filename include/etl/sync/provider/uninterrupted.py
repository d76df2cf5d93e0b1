"""Work that must not end in its middle."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

Result = TypeVar("Result")


async def uninterrupted(work: Coroutine[None, None, Result]) -> Result:
    """Await work to its end, even if cancelled meanwhile; the cancellation is raised then.

    A thread cannot be interrupted, and would go on unobserved; a response that is not awaited is lost.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
