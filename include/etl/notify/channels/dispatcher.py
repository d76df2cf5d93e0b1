"""Concurrent sending within adaptive limits: destinations take turns, and none of them delays the others."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from etl.notify.channels.adaptive import AdaptiveLimit, Signal
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult, SendStatus

MAX_WAIT = timedelta(seconds=5)
"""How long the messages of one call wait for their turn; those that would wait longer are deferred."""

NOT_TRIED = "NotTried"
"""Error class of a message that was deferred without having been tried."""

_MIN_RETRY_AFTER = timedelta(seconds=1)
_MAX_DESTINATIONS = 10_000
"""Destinations that are remembered; those that are limited are not forgotten."""

log = logging.getLogger(__name__)


class Dispatcher:
    """Sends the messages of one sender, and learns from their results what its server and each destination take.

    A message whose result concerns the server, and which was certainly not accepted, is sent again at once, as far as
    the limits allow. What cannot be sent within seconds is deferred, without having been tried.

    Parameters
    ----------
    concurrency
        Most messages that are sent at the same time.
    max_attempts
        How often a message is sent that the server defers for a reason of its own.
    are_destinations_servers
        Whether each destination is a server of its own, which is unknown until it has answered.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        max_attempts: int = 1,
        are_destinations_servers: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = AdaptiveLimit(concurrency)
        self.max_attempts = max_attempts
        self.clock = clock
        self.are_destinations_servers = are_destinations_servers
        self._concurrency = concurrency
        self._destinations: dict[str, AdaptiveLimit] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def destination(self, name: str) -> AdaptiveLimit:
        """Return the limit of a destination."""
        limit = self._destinations.get(name)
        if limit is None:
            if len(self._destinations) >= _MAX_DESTINATIONS:
                self._forget_idle()
            limit = AdaptiveLimit(self._concurrency, is_proven=not self.are_destinations_servers)
            self._destinations[name] = limit
        return limit

    async def send(
        self,
        messages: Sequence[Message],
        send: Callable[[Message], Awaitable[SendStatus]],
        *,
        find_destination: Callable[[Message], str],
    ) -> list[SendResult]:
        """Send messages, and return their results, in their order; an unexpected error of one stops no other.

        Parameters
        ----------
        send
            Sends one message.
        find_destination
            Returns where a message goes; empty if it names no destination.
        """
        batch = _Batch(self, messages, send, [find_destination(message) for message in messages])
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(messages))):
                group.create_task(batch.run_worker())
        return [result for result in batch.results if result is not None]

    async def wait_for_change(self, seconds: float | None) -> None:
        """Wait until a message has ended, at most so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=seconds)
        finally:
            self._waiters.discard(waiter)

    def announce_change(self) -> None:
        """Wake all that wait until a message has ended."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _forget_idle(self) -> None:
        now = self.clock()
        self._destinations = {
            name: limit for name, limit in self._destinations.items() if limit.in_flight or limit.wait(now)
        }


class _Batch:
    """The messages of one call."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        messages: Sequence[Message],
        send: Callable[[Message], Awaitable[SendStatus]],
        destinations: Sequence[str],
    ) -> None:
        self.results: list[SendResult | None] = [None] * len(messages)
        self._dispatcher = dispatcher
        self._messages = messages
        self._send = send
        self._destinations = destinations
        self._attempts = [0] * len(messages)
        self._deferrals: dict[int, SendStatus] = {}
        self._deadline = dispatcher.clock() + MAX_WAIT.total_seconds()
        # Destinations take turns, in the order of this dictionary.
        self._queues: OrderedDict[str, deque[int]] = OrderedDict()
        for index, name in enumerate(destinations):
            self._queues.setdefault(name, deque()).append(index)

    async def run_worker(self) -> None:
        """Send messages until none is left."""
        while (picked := self._pick()) is not None:
            if isinstance(picked, float):
                await self._dispatcher.wait_for_change(None if picked == math.inf else picked)
            else:
                await self._send_one(picked)

    def _pick(self) -> int | float | None:
        """Return the next message; or the seconds until there may be one; or None if none is left."""
        now, server = self._dispatcher.clock(), self._dispatcher.server
        if not self._queues:
            return None
        wait = server.wait(now)
        if wait and now + wait > self._deadline:
            for name in list(self._queues):
                self._defer(name, server, wait)
            return None
        if wait:
            return wait
        if server.in_flight >= server.concurrency:
            return math.inf
        return self._pick_destination(now)

    def _pick_destination(self, now: float) -> int | float | None:
        shortest = math.inf
        for _ in range(len(self._queues)):
            name, queue = next(iter(self._queues.items()))
            self._queues.move_to_end(name)
            limit = self._dispatcher.destination(name) if name else None
            if limit is not None:
                wait = limit.wait(now)
                if wait and now + wait > self._deadline:
                    self._defer(name, limit, wait)
                    continue
                if wait or limit.in_flight >= self._share(limit):
                    shortest = min(shortest, wait or math.inf)
                    continue
            index = queue.popleft()
            if not queue:
                del self._queues[name]
            return index
        return shortest if self._queues else None

    def _share(self, limit: AdaptiveLimit) -> int:
        """Return how many messages a destination may have in flight; while others wait, a quarter is left to them."""
        if len(self._queues) == 1:
            return limit.concurrency
        return min(limit.concurrency, max(1, self._dispatcher.server.concurrency * 3 // 4))

    async def _send_one(self, index: int) -> None:
        dispatcher, name = self._dispatcher, self._destinations[index]
        limits = [dispatcher.server, *([dispatcher.destination(name)] if name else [])]
        started_at = dispatcher.clock()
        for limit in limits:
            limit.start(started_at)
        status = None
        try:
            status = await _send_safely(self._send, self._messages[index])
        finally:
            now = dispatcher.clock()
            for limit, signal in zip(limits, self._find_signals(name, status), strict=False):
                retry_after = None if status is None else status.retry_after
                limit.finish(signal, started_at=started_at, now=now, retry_after=retry_after)
                if status is not None and signal not in (Signal.NOT_SENT, Signal.ANSWERED):
                    limit.reason = f"{status.error_class} {status.error}".strip()
            dispatcher.announce_change()
        self._attempts[index] += 1
        if (
            status.outcome is SendOutcome.DEFERRED
            and status.scope is Scope.SERVER
            and self._attempts[index] < dispatcher.max_attempts
        ):
            self._deferrals[index] = status
            self._queues.setdefault(name, deque()).appendleft(index)
        else:
            self._record(index, status)

    def _find_signals(self, name: str, status: SendStatus | None) -> tuple[Signal, Signal]:
        """Return what a result says about the server, and about the destination."""
        if status is None or status.signal is Signal.NOT_SENT:
            return Signal.NOT_SENT, Signal.NOT_SENT
        if status.signal is Signal.ANSWERED or status.scope is Scope.RECIPIENT:
            return Signal.ANSWERED, Signal.ANSWERED
        if status.scope is Scope.SERVER:
            return status.signal, Signal.NOT_SENT
        if self._dispatcher.are_destinations_servers:
            return Signal.NOT_SENT, status.signal
        if status.signal is not Signal.SILENT:
            return Signal.ANSWERED, status.signal
        # Several silent destinations are a fault of the server, but not several messages to the same one.
        is_paused = bool(self._dispatcher.destination(name).wait(self._dispatcher.clock()))
        return Signal.NOT_SENT if is_paused else Signal.FAULTY, Signal.SILENT

    def _defer(self, name: str, limit: AdaptiveLimit, wait: float) -> None:
        """Defer all messages that are left for a destination, as its limit or the server's requires."""
        queue = self._queues.pop(name)
        retry_after = max(timedelta(seconds=wait + len(queue) / limit.rate), _MIN_RETRY_AFTER)
        scope = Scope.SERVER if limit is self._dispatcher.server else Scope.DESTINATION
        untried = SendStatus(SendOutcome.DEFERRED, NOT_TRIED, f"not tried since: {limit.reason}", scope=scope)
        for index in queue:
            self._record(index, replace(self._deferrals.get(index, untried), retry_after=retry_after))

    def _record(self, index: int, status: SendStatus) -> None:
        self.results[index] = status.to_result(self._messages[index], self._destinations[index])


async def _send_safely(send: Callable[[Message], Awaitable[SendStatus]], message: Message) -> SendStatus:
    try:
        return await send(message)
    except Exception as error:  # noqa: BLE001 - the protocol promises that one message raises nothing
        # It is not known how far sending came. The error may quote an address: only its class is logged.
        log.error("delivery %d: %s in its channel", message.delivery_id, type(error).__name__)  # noqa: TRY400
        error_class = type(error).__name__
        return SendStatus(SendOutcome.UNKNOWN, error_class, "an error in its channel", signal=Signal.NOT_SENT)
