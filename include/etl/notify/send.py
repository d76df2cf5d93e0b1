"""Send: sends the messages of one chunk, to each recipient once, and continues where an interrupted attempt stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from etl.clients.rate_limits import Limiter
from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.errors import ChannelRefused, RetryAfter
from etl.notify.audience.check import is_walk_over
from etl.notify.channels.channel import Sender
from etl.notify.channels.refused import RefusedSender
from etl.notify.deferral.gate import Gate
from etl.notify.delivery import PageDelivery
from etl.notify.health.gate import BreakerGate
from etl.notify.pacing import REFRESH_INTERVAL, RunControl, RunWaits, SendingCancelled, SendingPaused
from etl.notify.slots.termination import delay_termination
from etl.notify.store import chunks, deferrals, deliveries, recipients, restores
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deferrals import Waiting
from etl.notify.store.deliveries import ClaimedPage
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.timing.window_gate import WindowGate
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

MAX_WAIT_IN_SLOT = timedelta(seconds=5)
"""Longest wait for deferred deliveries inside a task; for a longer one, the task is rescheduled."""
MAX_RESCHEDULE = timedelta(minutes=5)
"""Longest time until a task with deferred deliveries looks again whether its run was paused, cancelled or hurried."""
PAGES_BEFORE_GROWTH = 10
"""Pages that a sender ends in a row before it doubles a page limit that was halved when one was killed."""

Senders = Mapping[str, AbstractAsyncContextManager[Sender]]
"""Name of a channel → its sender, not yet opened."""


class RunHeld(RunWaits):
    """The channels of a run refuse everything, so that only probes are sent."""

    def __init__(self, run: NoticeRun, wait: timedelta) -> None:
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} is held, since its channels refuse everything. The next few "
            f"messages try again at {datetime.now(UTC) + wait:%H:%M:%S} UTC; nothing is lost. "
            f"`sluice notify status {run.run_id}` shows why.",
            min(wait, MAX_RESCHEDULE),
        )


class DeliveriesDeferred(RetryAfter):
    """All of a chunk was sent but what its servers will take only later."""

    def __init__(self, run: NoticeRun, chunk: NoticeChunk, waiting: Waiting) -> None:
        noun = "delivery waits" if waiting.deliveries == 1 else "deliveries wait"
        super().__init__(
            f"{run.notice} {run.period}: in chunk {chunk.ordinal} of run {run.run_id}, {waiting.deliveries:,} {noun} "
            f"for another try, the first until {datetime.now(UTC) + waiting.wait:%H:%M:%S} UTC; nothing is lost. "
            f"`sluice notify status {run.run_id}` shows why.",
            min(waiting.wait, MAX_RESCHEDULE),
        )


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
    gates: Sequence[Gate] = (),
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
    gates
        Decide which messages wait without a try, beside the send window of their recipients, and judge the results of
        the others.
    end_turn
        Called about every second; raises `RetryAfter` if the slot is to be left to another run.

    Raises
    ------
    LockTaken
        If another task is sending the same chunk.
    DeliveriesDeferred
        If only deliveries are left that are due later.
    RunHeld
        If the channels refuse everything.
    ChannelRefused
        If the servers of all channels refuse to be used.
    LedgerUntrusted
        If the database was restored, and its ledger may not know what was sent.
    RetryAfter
        If the run is paused, or the chunk would wait too long for its turn.
    """
    templates = templates or Templates(notice)
    links = links or UnsubscribeLinks(LinkSettings.from_environment())
    with delay_termination() as stop, locks.hold(db, f"notify.{run_id}.{ordinal}"):
        if chunks.find(db, run_id, ordinal).finished_at:
            return
        restores.require_trusted(db)
        deliveries.require_synchronous_commit(db)
        control = RunControl(db, limiter, run_id, stop=stop, end_turn=end_turn)
        try:
            run = control.current_run()
            chunk = chunks.start_attempt(db, run_id, ordinal, unknown=notice.unknown)
            gates = (WindowGate(notice, run), *gates)
            sending = _Sending(notice, chunk, db, control, templates, links, BreakerGate(notice, chunk, db), gates)
            asyncio.run(_send_chunk(sending, senders))
        except MemoryError:
            chunks.halve_page_size(db, run_id, ordinal)
            raise
        except SendingCancelled:
            deferrals.cancel(db, run_id)
            log.info("%s: run %d was cancelled; chunk %d stops", notice.name, run_id, ordinal)
        except (ChannelRefused, RetryAfter):
            # Only the first signal is a request: the caller, which knows nothing of it, must not go on.
            control.require_not_stopped()
            raise


async def _send_chunk(sending: _Sending, senders: Senders) -> None:
    """Send the rest of a chunk: page by page, and between the pages the deferred deliveries that are due."""
    notice, chunk, db, control = sending.notice, sending.chunk, sending.db, sending.control
    position, page_limit, clean_pages = chunk.position, chunk.page_limit, 0
    is_walked = False
    async with AsyncExitStack() as stack:
        open_senders = await _open_senders(notice, senders, stack)
        while True:
            run = await control.wait_until_sending()
            if wait := sending.breakers.begin_page(run):
                if wait > MAX_WAIT_IN_SLOT:
                    raise RunHeld(run, wait)
                await asyncio.sleep(min(wait, REFRESH_INTERVAL).total_seconds())
                continue
            limit = min(control.page_size(len(notice.channels)), page_limit, sending.breakers.max_page_size)
            due = deferrals.list_due(db, notice, chunk, limit=limit)
            if due:
                claimed = deferrals.claim(db, notice, run, chunk, due)
                with suppress(SendingPaused):
                    await sending.send_page(run, ClaimedPage(claimed, 0, 0), open_senders, from_position=position)
            if not is_walked:
                audience = recipients.read_page(db, notice, run, after=position, stop=chunk.stop, limit=limit)
                is_walked = not audience and is_walk_over(notice, run, chunk, position, limit=limit, db=db)
                if audience:
                    page = deliveries.claim(db, notice, run, chunk, audience)
                    last_position = audience[-1].position
                    with suppress(SendingPaused):
                        await sending.send_page(
                            run, page, open_senders, from_position=position, walked=(last_position, len(audience))
                        )
                        position, clean_pages = last_position, clean_pages + 1
                        if page_limit < chunks.MAX_PAGE and clean_pages % PAGES_BEFORE_GROWTH == 0:
                            page_limit = chunks.double_page_size(db, chunk)
            elif not due:
                waiting = deferrals.find_waiting(db, notice, chunk)
                if waiting is None:
                    break
                if waiting.wait > MAX_WAIT_IN_SLOT:
                    raise DeliveriesDeferred(run, chunk, waiting)
                await asyncio.sleep(min(waiting.wait, REFRESH_INTERVAL).total_seconds())
    chunks.finish(db, chunk)
    log.info("%s: run %d, chunk %d has been sent, attempt %d", notice.name, chunk.run_id, chunk.ordinal, chunk.attempt)


async def _open_senders(notice: Notice, senders: Senders, stack: AsyncExitStack) -> dict[str, Sender]:
    """Open the senders; the messages of a refused one are deferred, unless all are refused."""
    opened: dict[str, Sender] = {}
    refusals: dict[str, ChannelRefused] = {}
    for channel in notice.channels:
        try:
            opened[channel.name] = await stack.enter_async_context(senders[channel.name])
        except ChannelRefused as error:
            log.error("%s: its messages wait: %s", channel.name, error)  # noqa: TRY400 - the error says it all
            refusals[channel.name] = error
    if not opened:
        raise next(iter(refusals.values()))
    return {**opened, **{name: RefusedSender(error) for name, error in refusals.items()}}


@dataclass(frozen=True)
class _Sending:
    """What all pages of a chunk are sent with.

    Parameters
    ----------
    notice, chunk
        What is sent.
    db, control
        Database of the run, and its state and throttle.
    templates, links, gates
        As for `PageDelivery`.
    breakers
        The gate of the circuit breakers, which comes last: what waits for another reason must not be its probe.
    """

    notice: Notice
    chunk: NoticeChunk
    db: Connection
    control: RunControl
    templates: Templates
    links: UnsubscribeLinks
    breakers: BreakerGate
    gates: Sequence[Gate]

    async def send_page(
        self,
        run: NoticeRun,
        page: ClaimedPage,
        senders: Mapping[str, Sender],
        *,
        from_position: int,
        walked: tuple[int, int] | None = None,
    ) -> None:
        """Send the claimed messages and record their outcomes; if it ends early, release those that were not sent.

        Parameters
        ----------
        from_position
            Position of the chunk before the page.
        walked
            Position after it, and its number of recipients; None for a page of deferred deliveries.
        """
        delivery = PageDelivery(
            self.notice,
            run,
            page.claimed,
            templates=self.templates,
            throttle=self.control,
            senders=senders,
            links=self.links,
            gates=[*self.gates, self.breakers],
        )
        try:
            await delivery.send()
        except BaseException:
            if not self.db.broken:
                deliveries.record_updates(self.db, self.chunk, delivery.updates, position=from_position)
                deliveries.release(self.db, self.chunk, delivery.unsent_ids)
                self.breakers.end_page()
            raise
        position, recipient_count = walked or (from_position, 0)
        deliveries.record_updates(
            self.db,
            self.chunk,
            delivery.updates,
            position=position,
            recipients=recipient_count,
            repeated=page.repeated,
            unreachable=page.unreachable,
        )
        self.breakers.end_page()
