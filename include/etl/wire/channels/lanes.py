"""Several messages at the same time, and what came of each in their order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from etl.wire.channels.channel import Message, Outcome, Result

log = logging.getLogger(__name__)


async def side_by_side(
    messages: Sequence[Message], send: Callable[[Message], Awaitable[Result]], *, lanes: int
) -> list[Result]:
    """Send messages, at most `lanes` at a time; one that ends in an error of ours sinks none of the others."""
    results: list[Result | None] = [None] * len(messages)
    waiting = iter(enumerate(messages))

    async def lane() -> None:
        for place, message in waiting:
            results[place] = await _surely(send, message)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, len(messages))):
            group.create_task(lane())
    return [result for result in results if result is not None]


async def _surely(send: Callable[[Message], Awaitable[Result]], message: Message) -> Result:
    try:
        return await send(message)
    except Exception as error:  # noqa: BLE001 - the edge that the protocol promises
        # Nobody knows how far it came. The error may quote an address: only its class is told.
        log.error("delivery %d: %s in its channel", message.delivery_id, type(error).__name__)  # noqa: TRY400
        return Result(message.delivery_id, Outcome.UNKNOWN, type(error).__name__, "an error in its channel")
