"""Send: tell the recipients of one chunk, each once, whatever ends the task on its way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from etl.clients.rate_limits import Limiter
from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.channels.channel import Sender
from etl.notify.delivery import ChannelUnavailable, PageDelivery
from etl.notify.pacing import RunControl, SendingCancelled, SendingPaused
from etl.notify.store import chunks, deliveries
from etl.notify.store import recipients as audience
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import ClaimedPage
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

MAX_STALLS = 60
"""How often in a row the server may take nothing of a page before its messages fail; a task comes back each minute."""

Senders = Mapping[str, AbstractAsyncContextManager[Sender]]
"""Name of a medium → its channel, closed."""


def send(
    notice: Notice,
    run_id: int,
    ordinal: int,
    *,
    db: Connection,
    limiter: Limiter,
    senders: Senders,
    templates: Templates | None = None,
    links: UnsubscribeLinks | None = None,
) -> None:
    """Walk a chunk from where an earlier attempt stopped; do nothing if it has been walked.

    Parameters
    ----------
    notice
        What is sent.
    run_id, ordinal
        Which chunk.
    senders
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
    ways_out = links or UnsubscribeLinks(LinkSettings.from_environment())
    with locks.hold(db, f"notify.{run_id}.{ordinal}"):
        if chunks.find(db, run_id, ordinal).finished_at:
            return
        deliveries.require_synchronous_commit(db)
        steering = RunControl(db, limiter, run_id)
        try:
            asyncio.run(steering.wait_until_sending())
            chunk = chunks.start_attempt(db, run_id, ordinal)
            walk = _send_pages(notice, chunk, db, control=steering, senders=senders, templates=words, links=ways_out)
            asyncio.run(walk)
        except MemoryError:
            chunks.halve_page_size(db, run_id, ordinal)
            raise
        except SendingCancelled:
            log.info("%s: run %d was cancelled; chunk %d stops", notice.name, run_id, ordinal)


async def _send_pages(
    notice: Notice,
    chunk: NoticeChunk,
    db: Connection,
    *,
    control: RunControl,
    senders: Senders,
    templates: Templates,
    links: UnsubscribeLinks,
) -> None:
    position = chunk.position
    async with AsyncExitStack() as opened:
        carriers = {medium.name: await opened.enter_async_context(senders[medium.name]) for medium in notice.channels}
        while True:
            run = await control.wait_until_sending()
            recipients = audience.read_page(
                db,
                notice,
                run,
                after=position,
                stop=chunk.stop,
                limit=min(control.page_size(len(notice.channels)), chunk.page_limit),
            )
            if not recipients:
                break
            page = deliveries.claim(db, notice, run, chunk, recipients)
            hand_over = PageDelivery(
                notice, run, page.claimed, templates=templates, throttle=control, senders=carriers, links=links
            )
            with suppress(SendingPaused):
                await _send_page(
                    db, chunk, page, hand_over, from_position=position, to_position=recipients[-1].position
                )
                position = recipients[-1].position
    chunks.finish(db, chunk)
    log.info("%s: run %d, chunk %d has been sent, attempt %d", notice.name, chunk.run_id, chunk.ordinal, chunk.attempt)


async def _send_page(
    db: Connection,
    chunk: NoticeChunk,
    page: ClaimedPage,
    delivery: PageDelivery,
    *,
    from_position: int,
    to_position: int,
) -> None:
    """Send what was claimed, and write what came of it even if it ends early; what nobody got is given up."""
    try:
        try:
            await delivery.send()
        except ChannelUnavailable:
            if chunks.count_stall(db, chunk) < MAX_STALLS:
                raise
            delivery.fail_deferred()
    except BaseException:
        delivery.mark_in_doubt()
        if not db.broken:
            deliveries.record_updates(db, chunk, delivery.updates, position=from_position)
            deliveries.release(db, chunk, delivery.unsent_ids)
        raise
    deliveries.record_updates(
        db,
        chunk,
        delivery.updates,
        position=to_position,
        repeated=page.repeated,
        unreachable=page.unreachable,
    )
