"""Send: sends the messages of one chunk, to each recipient once, and continues where an interrupted attempt stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from etl.clients.rate_limits import Limiter
from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.channels.channel import Sender
from etl.notify.delivery import ChannelUnavailable, PageDelivery
from etl.notify.pacing import RunControl, SendingCancelled, SendingPaused
from etl.notify.slots.termination import delay_termination
from etl.notify.store import chunks, deliveries, recipients
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import ClaimedPage
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

MAX_STALLS = 60
"""How often in a row a server may accept no message of a page before its messages fail; a task retries each minute."""

PAGES_BEFORE_GROWTH = 10
"""Pages that a sender ends in a row before it doubles a page limit that was halved when one was killed."""

Senders = Mapping[str, AbstractAsyncContextManager[Sender]]
"""Name of a channel → its sender, not yet opened."""


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
    end_turn: Callable[[], None] = lambda: None,
) -> None:
    """Send a chunk from where an earlier attempt stopped; do nothing if it is finished.

    Parameters
    ----------
    notice
        What is sent.
    run_id, ordinal
        Key of the chunk.
    senders
        Sender of each channel.
    templates
        Templates to render; None for those of the notice's folder.
    links
        Builds unsubscribe links; None to build it from the environment's settings.
    end_turn
        Called between two pages; raises `RetryAfter` if the slot is to be left to another run.

    Raises
    ------
    LockTaken
        If another task is sending the same chunk.
    RetryAfter
        If the run is paused, a server accepts no messages, or the chunk would wait too long for its turn.
    """
    templates = templates or Templates(notice)
    links = links or UnsubscribeLinks(LinkSettings.from_environment())
    with delay_termination() as stop, locks.hold(db, f"notify.{run_id}.{ordinal}"):
        if chunks.find(db, run_id, ordinal).finished_at:
            return
        deliveries.require_synchronous_commit(db)
        control = RunControl(db, limiter, run_id, stop=stop, end_turn=end_turn)
        try:
            control.current_run()
            chunk = chunks.start_attempt(db, run_id, ordinal)
            asyncio.run(
                _send_pages(notice, chunk, db, control=control, senders=senders, templates=templates, links=links)
            )
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
    position, page_limit, clean_pages = chunk.position, chunk.page_limit, 0
    async with AsyncExitStack() as stack:
        open_senders = {
            channel.name: await stack.enter_async_context(senders[channel.name]) for channel in notice.channels
        }
        while True:
            run = await control.wait_until_sending()
            page_recipients = recipients.read_page(
                db,
                notice,
                run,
                after=position,
                stop=chunk.stop,
                limit=min(control.page_size(len(notice.channels)), page_limit),
            )
            if not page_recipients:
                break
            last_position = page_recipients[-1].position
            page = deliveries.claim(db, notice, run, chunk, page_recipients)
            delivery = PageDelivery(
                notice, run, page.claimed, templates=templates, throttle=control, senders=open_senders, links=links
            )
            with suppress(SendingPaused):
                await _send_page(db, chunk, page, delivery, from_position=position, to_position=last_position)
                position, clean_pages = last_position, clean_pages + 1
                if page_limit < chunks.MAX_PAGE and clean_pages % PAGES_BEFORE_GROWTH == 0:
                    page_limit = chunks.double_page_size(db, chunk)
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
    """Send the claimed messages and record their outcomes; if it ends early, release those that were not sent."""
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
