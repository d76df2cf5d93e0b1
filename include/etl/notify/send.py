"""Send: tell the recipients of one chunk, each once, whatever ends the task on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from etl.clients.rate_limits import Limiter
from etl.db import locks
from etl.db.connection import Warehouse
from etl.declare.notice import Notice
from etl.notify.channels.channel import Channel
from etl.notify.delivery import HandOver, ServerTakesNothing
from etl.notify.pacing import SendingCancelled, SendingPaused, Steering
from etl.notify.store import chunks, deliveries
from etl.notify.store import recipients as audience
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import Page
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import Links
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

MOST_STALLS = 60
"""How often in a row the server may take nothing of a page before its messages fail; a task comes back each minute."""

Channels = Mapping[str, AbstractAsyncContextManager[Channel]]
"""Name of a medium → its channel, closed."""


def send(
    notice: Notice,
    run_id: int,
    ordinal: int,
    *,
    warehouse: Warehouse,
    limiter: Limiter,
    channels: Channels,
    templates: Templates | None = None,
    links: Links | None = None,
) -> None:
    """Walk a chunk from where an earlier attempt stopped; do nothing if it has been walked.

    Parameters
    ----------
    notice
        What is sent.
    run_id, ordinal
        Which chunk.
    channels
        What carries it, by the name of the medium.
    templates
        What it says; None for those of its folder.
    links
        Write how each recipient ends such messages; None for those that the settings ask for.

    Raises
    ------
    LockTaken
        If another task is at the same chunk.
    MustWait
        If the run stays paused, the server takes nothing, or the chunk's turn comes too late to be waited for.
    """
    words = templates or Templates(notice)
    ways_out = links or Links(LinkSettings.from_environment())
    with locks.hold(warehouse, f"notify.{run_id}.{ordinal}"):
        if chunks.find(warehouse, run_id, ordinal).finished_at:
            return
        deliveries.keep(warehouse)
        steering = Steering(warehouse, limiter, run_id)
        try:
            asyncio.run(steering.ready())
            chunk = chunks.open_attempt(warehouse, run_id, ordinal)
            walk = _walk(notice, chunk, warehouse, steering=steering, channels=channels, words=words, links=ways_out)
            asyncio.run(walk)
        except MemoryError:
            chunks.halve(warehouse, run_id, ordinal)
            raise
        except SendingCancelled:
            log.info("%s: run %d was cancelled; chunk %d stops", notice.name, run_id, ordinal)


async def _walk(
    notice: Notice,
    chunk: NoticeChunk,
    warehouse: Warehouse,
    *,
    steering: Steering,
    channels: Channels,
    words: Templates,
    links: Links,
) -> None:
    position = chunk.position
    async with AsyncExitStack() as opened:
        carriers = {medium.name: await opened.enter_async_context(channels[medium.name]) for medium in notice.channels}
        while True:
            run = await steering.ready()
            recipients = audience.read(
                warehouse,
                notice,
                run,
                after=position,
                stop=chunk.stop,
                limit=min(steering.page_size(len(notice.channels)), chunk.page_limit),
            )
            if not recipients:
                break
            page = deliveries.claim(warehouse, notice, run, chunk, recipients)
            hand_over = HandOver(
                notice, run, page.claimed, words=words, steering=steering, carriers=carriers, links=links
            )
            with suppress(SendingPaused):
                await _send_page(warehouse, chunk, page, hand_over, before=position, after=recipients[-1].position)
                position = recipients[-1].position
    chunks.finish(warehouse, chunk)
    log.info("%s: run %d, chunk %d has been sent, attempt %d", notice.name, chunk.run_id, chunk.ordinal, chunk.attempt)


async def _send_page(
    warehouse: Warehouse, chunk: NoticeChunk, page: Page, hand_over: HandOver, *, before: int, after: int
) -> None:
    """Send what was claimed, and write what came of it even if it ends early; what nobody got is given up."""
    try:
        try:
            await hand_over.all()
        except ServerTakesNothing:
            if chunks.stall(warehouse, chunk) < MOST_STALLS:
                raise
            hand_over.give_up()
    except BaseException:
        hand_over.leave()
        if not warehouse.broken:
            deliveries.confirm(warehouse, chunk, hand_over.endings, position=before)
            deliveries.release(warehouse, chunk, hand_over.untouched)
        raise
    deliveries.confirm(
        warehouse,
        chunk,
        hand_over.endings,
        position=after,
        repeated=page.repeated,
        unreachable=page.unreachable,
    )
