"""Delivery: sends the claimed messages of one page and collects their outcomes."""

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
"""How often a message is sent that the server defers, or whose connection breaks."""
BACKOFF_STEP = timedelta(milliseconds=500)


class ChannelUnavailable(RetryAfter):
    """A server deferred every message of a page."""

    def __init__(self, run: NoticeRun, channel: Channel, host: str, error_class: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: the {channel.name} server {host} accepts no messages ({error_class}); none "
            "was delivered, and the task is retried.",
            MAX_WAIT,
        )


class PageDelivery:
    """The messages of one page.

    Parameters
    ----------
    notice, run
        What is sent.
    claimed
        Claimed deliveries of the page.
    templates
        Templates of the notice.
    throttle
        Limits the rate.
    senders
        Name of a channel → its open sender.
    links
        Builds the unsubscribe link of each recipient.

    Attributes
    ----------
    updates
        Outcomes of the deliveries that have ended.
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
        self._claimed = {delivery.delivery_id: delivery for delivery in claimed}
        self._in_flight: set[int] = set()
        self._doubts: Counter[int] = Counter()
        self._deferrals: dict[int, SendResult] = {}

    @property
    def unsent_ids(self) -> list[int]:
        """Deliveries that have not ended, and whose messages certainly did not arrive."""
        return [delivery_id for delivery_id in self._pending_ids() if not self._doubts[delivery_id]]

    async def send(self) -> None:
        """Send every message, and retry those that are deferred.

        Raises
        ------
        ChannelUnavailable
            If a server defers every message; the deliveries of the other channels have ended then.
        RetryAfter
            If the run is paused, or the pace too slow.
        SendingCancelled
            If the run was cancelled.
        """
        unavailable = None
        for channel in self._notice.channels:
            messages = [
                message
                for delivery in self._claimed.values()
                if delivery.channel == channel.name and (message := self._build_message(channel, delivery)) is not None
            ]
            try:
                await self._send_with_retries(channel, messages)
            except ChannelUnavailable as error:
                unavailable = error
        if unavailable:
            raise unavailable

    def fail_deferred(self) -> None:
        """Fail the deferred deliveries that have not ended."""
        for delivery_id in self._deferrals.keys() & set(self._pending_ids()):
            self._record_failure(delivery_id)

    def mark_in_doubt(self) -> None:
        """Make deliveries whose message may or may not have arrived `unknown`, since the page ends early."""
        for delivery_id in self._pending_ids():
            if self._doubts[delivery_id]:
                self._record(delivery_id, SendOutcome.UNKNOWN)

    async def _send_with_retries(self, channel: Channel, messages: Sequence[Message]) -> None:
        remaining = messages
        for attempt in range(1, MAX_ATTEMPTS + 1):
            remaining = await self._send_once(channel, remaining, is_last_attempt=attempt == MAX_ATTEMPTS)
            if not remaining:
                return
            if attempt < MAX_ATTEMPTS:
                await asyncio.sleep(BACKOFF_STEP.total_seconds() * attempt)
        if len(remaining) == len(messages):
            error_class = self._deferrals[remaining[0].delivery_id].error_class
            raise ChannelUnavailable(self._run, channel, self._senders[channel.name].host, error_class)
        for message in remaining:
            self._record_failure(message.delivery_id)

    async def _send_once(
        self, channel: Channel, messages: Sequence[Message], *, is_last_attempt: bool
    ) -> list[Message]:
        """Send messages in batches, as the pace allows, and return those to send again.

        The results of each batch are recorded before the next is sent, since the task may end in between.
        """
        sender = self._senders[channel.name]
        to_retry: list[Message] = []
        offset = 0
        while offset < len(messages):
            size = await self._throttle.acquire(channel, sender.host, len(messages) - offset)
            batch = [message for message in messages[offset : offset + size] if not self._record_if_expired(message)]
            offset += size
            self._in_flight = {message.delivery_id for message in batch}
            results = await sender.send(batch) if batch else []
            to_retry += [
                message
                for result, message in zip(results, batch, strict=True)
                if not self._record_result(result, message, is_last_attempt=is_last_attempt)
            ]
            self._in_flight = set()
        return to_retry

    def _record_result(self, result: SendResult, message: Message, *, is_last_attempt: bool) -> bool:
        """Record the result of a message; return False if the message is to be sent again instead."""
        if result.outcome is SendOutcome.DEFERRED:
            self._deferrals[result.delivery_id] = result
            return False
        if result.outcome is SendOutcome.UNKNOWN:
            self._doubts[result.delivery_id] += 1
            if self._notice.unknown is UnknownPolicy.RESEND and not is_last_attempt:
                return False
        invalid_address = message.address if result.is_address_invalid else None
        self._record(result.delivery_id, result.outcome, result.error_class, result.error, invalid_address)
        return True

    def _record_failure(self, delivery_id: int) -> None:
        """Fail a delivery whose message was deferred."""
        deferral = self._deferrals[delivery_id]
        self._record(delivery_id, SendOutcome.FAILED, deferral.error_class, deferral.error)

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
        updated = {update.delivery_id for update in self.updates}
        return [
            delivery_id
            for delivery_id in self._claimed
            if delivery_id not in updated and delivery_id not in self._in_flight
        ]

    def _record_if_expired(self, message: Message) -> bool:
        """Return whether a message expired while it waited, and record it if so."""
        if message.expires_at is None or datetime.now(UTC) < message.expires_at:
            return False
        self.updates.append(DeliveryUpdate(message.delivery_id, "expired", self._doubts[message.delivery_id]))
        return True

    def _build_message(self, channel: Channel, claimed: ClaimedDelivery) -> Message | None:
        """Return the message of a delivery; None, and a failure, if its address is malformed or a template fails."""
        if not channel.accepts(claimed.address):
            error = f"not a valid {channel.name} address"
            self._record(claimed.delivery_id, SendOutcome.FAILED, "malformed_address", error)
            return None
        link = self._links.build(claimed.recipient.user_id, self._notice.category)
        try:
            parts = self._templates.render(
                channel,
                claimed.recipient.values,
                unsubscribe_url=link.url,
                locale=claimed.recipient.locale,
                time_zone=claimed.recipient.time_zone,
            )
        except TemplateBroken as broken:
            self._record(claimed.delivery_id, SendOutcome.FAILED, "template_broken", str(broken))
            return None
        return Message(claimed.delivery_id, claimed.address, parts, self._run.expires_at, link.url, link.mailto)
