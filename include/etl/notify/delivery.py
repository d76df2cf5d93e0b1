"""Hand over: the messages of one page, from claimed rows to what the servers said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from etl.declare.notice import Channel, Notice, UnknownPolicy
from etl.errors import RetryAfter
from etl.notify.channels.channel import Message, Sender, SendOutcome, SendResult
from etl.notify.pacing import MAX_WAIT, Throttle
from etl.notify.store.deliveries import ClaimedDelivery, DeliveryUpdate
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import TemplateBroken, Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks

MAX_ATTEMPTS = 3
"""How often a message is handed over that is not taken now, or whose connection broke."""
BACKOFF_STEP = timedelta(milliseconds=500)


class ChannelUnavailable(RetryAfter):
    """Of a page of messages a server took none, and refused none for good."""

    def __init__(self, run: NoticeRun, channel: Channel, host: str, error_class: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: the {channel.name} server {host} takes nothing ({error_class}); nobody got "
            "anything, and it is tried again.",
            MAX_WAIT,
        )


class PageDelivery:
    """The messages of one page.

    Parameters
    ----------
    notice, run
        What is sent.
    claimed
        Its messages.
    templates
        Its templates.
    throttle
        Lets them through.
    senders
        Name of a medium → its open channel.
    links
        Write how each recipient ends such messages.

    Attributes
    ----------
    updates
        What came of those that have ended.
    """

    def __init__(
        self,
        notice: Notice,
        run: NoticeRun,
        claimed: Sequence[ClaimedDelivery],
        *,
        templates: Templates,
        throttle: Throttle,
        senders: Mapping[str, Sender],
        links: UnsubscribeLinks,
    ) -> None:
        self.updates: list[DeliveryUpdate] = []
        self._notice = notice
        self._run = run
        self._templates = templates
        self._throttle = throttle
        self._senders = senders
        self._links = links
        self._claimed = {one.delivery_id: one for one in claimed}
        self._in_flight: set[int] = set()
        self._doubts: Counter[int] = Counter()
        self._deferrals: dict[int, SendResult] = {}

    @property
    def unsent_ids(self) -> list[int]:
        """Deliveries that certainly nobody got, and that have not ended."""
        return [one for one in self._pending_ids() if not self._doubts[one]]

    async def send(self) -> None:
        """Hand over every message, and again those that were not taken.

        Raises
        ------
        ServerTakesNothing
            If a server takes nothing; the messages of the other channels have ended then.
        MustWait
            If the run is paused, or the pace too slow.
        SendingCancelled
            If the run was cancelled.
        """
        silent = None
        for medium in self._notice.channels:
            messages = [
                message
                for one in self._claimed.values()
                if one.channel == medium.name and (message := self._build_message(medium, one)) is not None
            ]
            try:
                await self._send_with_retries(medium, messages)
            except ChannelUnavailable as error:
                silent = error
        if silent:
            raise silent

    def fail_deferred(self) -> None:
        """Let those that no server takes fail, for good."""
        for delivery_id in self._deferrals.keys() & set(self._pending_ids()):
            self._record_failure(delivery_id)

    def mark_in_doubt(self) -> None:
        """Let those of which nobody can tell whether they arrived be unknown, since the page ends early."""
        for delivery_id in self._pending_ids():
            if self._doubts[delivery_id]:
                self._record(delivery_id, SendOutcome.UNKNOWN)

    async def _send_with_retries(self, channel: Channel, messages: Sequence[Message]) -> None:
        left = messages
        for tried in range(1, MAX_ATTEMPTS + 1):
            left = await self._send_once(channel, left, is_last_attempt=tried == MAX_ATTEMPTS)
            if not left:
                return
            if tried < MAX_ATTEMPTS:
                await asyncio.sleep(BACKOFF_STEP.total_seconds() * tried)
        if len(left) == len(messages):
            found = self._deferrals[left[0].delivery_id].error_class
            raise ChannelUnavailable(self._run, channel, self._senders[channel.name].host, found)
        for message in left:
            self._record_failure(message.delivery_id)

    async def _send_once(
        self, channel: Channel, messages: Sequence[Message], *, is_last_attempt: bool
    ) -> list[Message]:
        """Hand messages over in lots, as the pace allows, and return those that have not ended.

        What came of a lot is kept before the next, which may never be sent.
        """
        carrier = self._senders[channel.name]
        again: list[Message] = []
        done = 0
        while done < len(messages):
            size = await self._throttle.acquire(channel, carrier.host, len(messages) - done)
            lot = [message for message in messages[done : done + size] if not self._record_if_expired(message)]
            done += size
            self._in_flight = {message.delivery_id for message in lot}
            results = await carrier.send(lot) if lot else []
            again += [
                message
                for result, message in zip(results, lot, strict=True)
                if not self._record_result(result, message, is_last_attempt=is_last_attempt)
            ]
            self._in_flight = set()
        return again

    def _record_result(self, result: SendResult, message: Message, *, is_last_attempt: bool) -> bool:
        """Return whether this is what came of a message; it is handed over again if not."""
        if result.outcome is SendOutcome.DEFERRED:
            self._deferrals[result.delivery_id] = result
            return False
        if result.outcome is SendOutcome.UNKNOWN:
            self._doubts[result.delivery_id] += 1
            if self._notice.unknown is UnknownPolicy.RESEND and not is_last_attempt:
                return False
        ended = message.address if result.is_address_invalid else None
        self._record(result.delivery_id, result.outcome, result.error_class, result.error, ended)
        return True

    def _record_failure(self, delivery_id: int) -> None:
        """End a message that is not taken."""
        refused = self._deferrals[delivery_id]
        self._record(delivery_id, SendOutcome.FAILED, refused.error_class, refused.error)

    def _record(
        self,
        delivery_id: int,
        outcome: SendOutcome,
        error_class: str = "",
        error: str = "",
        invalid_address: str | None = None,
    ) -> None:
        doubts = self._doubts[delivery_id]
        self.updates.append(DeliveryUpdate(delivery_id, outcome.value, doubts, error_class, error, invalid_address))

    def _pending_ids(self) -> list[int]:
        """Return the deliveries that have not ended and are not in flight."""
        ended = {ending.delivery_id for ending in self.updates}
        return [one for one in self._claimed if one not in ended and one not in self._in_flight]

    def _record_if_expired(self, message: Message) -> bool:
        """Return whether a message came to be of no use while it waited."""
        if message.expires_at is None or datetime.now(UTC) < message.expires_at:
            return False
        self.updates.append(DeliveryUpdate(message.delivery_id, "expired", self._doubts[message.delivery_id]))
        return True

    def _build_message(self, channel: Channel, claimed: ClaimedDelivery) -> Message | None:
        """Return what is handed over; None if it cannot be written, or its address not be used."""
        if not channel.accepts(claimed.address):
            self._record(claimed.delivery_id, SendOutcome.FAILED, "malformed_address", f"no address of {channel.name}")
            return None
        link = self._links.build(claimed.recipient.user_id, self._notice.category)
        try:
            parts = self._templates.render(channel, claimed.recipient.values, unsubscribe_url=link.url)
        except TemplateBroken as broken:
            self._record(claimed.delivery_id, SendOutcome.FAILED, "template_broken", str(broken))
            return None
        return Message(claimed.delivery_id, claimed.address, parts, self._run.expires_at, link.url, link.mailto)
