"""Delivery: sends the claimed messages of one page and collects their outcomes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from etl.declare.notice import Channel, Notice, UnknownPolicy
from etl.errors import RetryAfter
from etl.notify.channels.channel import Message, Sender, SendOutcome, SendResult
from etl.notify.deferral.backoff import next_wait
from etl.notify.deferral.gate import Gate
from etl.notify.pacing import SendingCancelled, Throttle
from etl.notify.store.deliveries import ClaimedDelivery, Deferral, DeferralReason, DeliveryUpdate
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import TemplateBroken, Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks

MAX_DOUBTS = 3
"""How often a message is sent of which it stays unknown whether it arrived, if its notice resends such messages."""


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
    gates
        Decide which messages wait without a try, and judge the results of the others.

    Attributes
    ----------
    updates
        Outcomes of the deliveries that have ended or are deferred.
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
        gates: Sequence[Gate] = (),
    ) -> None:
        self.updates: list[DeliveryUpdate] = []
        self._notice = notice
        self._run = run
        self._templates = templates
        self._throttle = throttle
        self._senders = senders
        self._links = links
        self._gates = gates
        self._claimed = {delivery.delivery_id: delivery for delivery in claimed}
        self._in_flight: set[int] = set()

    @property
    def unsent_ids(self) -> list[int]:
        """Deliveries without an outcome whose messages certainly were not sent."""
        updated = {update.delivery_id for update in self.updates}
        return [delivery_id for delivery_id in self._claimed if delivery_id not in updated | self._in_flight]

    async def send(self) -> None:
        """Send every message once; those of different channels at the same time.

        An error of one channel is raised when the others have sent their messages.

        Raises
        ------
        RetryAfter
            If the run is paused, or the pace too slow.
        SendingCancelled
            If the run was cancelled.
        """
        outcomes = await asyncio.gather(*map(self._send_channel, self._notice.channels), return_exceptions=True)
        errors = [error for error in outcomes if isinstance(error, BaseException)]
        if errors:
            # A real error is never hidden by a pause.
            raise min(errors, key=lambda error: isinstance(error, RetryAfter | SendingCancelled))

    async def _send_channel(self, channel: Channel) -> None:
        """Send the messages of a channel in batches, as the pace allows.

        The results of each batch are recorded before the next is sent, since the task may end in between.
        """
        messages = [
            message
            for delivery in self._claimed.values()
            if delivery.channel == channel.name
            and not self._is_held(channel, delivery)
            and (message := self._build_message(channel, delivery)) is not None
        ]
        sender = self._senders[channel.name]
        offset = 0
        while offset < len(messages):
            size = await self._throttle.acquire(channel, sender.host, len(messages) - offset)
            batch = [message for message in messages[offset : offset + size] if not self._record_if_expired(message)]
            offset += size
            batch_ids = {message.delivery_id for message in batch}
            self._in_flight |= batch_ids
            results: Sequence[SendResult] = await sender.send(batch) if batch else []
            for gate in self._gates:
                results = gate.review(channel, results)
            for result, message in zip(results, batch, strict=True):
                self._record_result(result, message)
            self._in_flight -= batch_ids

    def _is_held(self, channel: Channel, delivery: ClaimedDelivery) -> bool:
        """Return whether a gate holds a message back, and record it if so."""
        hold = next(filter(None, (gate.hold(channel, delivery) for gate in self._gates)), None)
        if hold is None:
            return False
        deferral = Deferral(delivery.recipient.position, hold.reason, hold.wait, delivery.tries, hold.destination)
        self.updates.append(DeliveryUpdate(delivery.delivery_id, "deferred", deferral=deferral))
        return True

    def _record_result(self, result: SendResult, message: Message) -> None:
        delivery = self._claimed[result.delivery_id]
        is_doubtful = result.outcome is SendOutcome.UNKNOWN
        is_resent = is_doubtful and self._notice.unknown is UnknownPolicy.RESEND and delivery.doubts + 1 < MAX_DOUBTS
        state, deferral = result.outcome.value, None
        if is_resent or result.outcome is SendOutcome.DEFERRED:
            state, deferral = self._defer(result, delivery)
        self.updates.append(
            DeliveryUpdate(
                result.delivery_id,
                state,
                int(is_doubtful),
                result.error_class,
                result.error,
                message.address if result.is_address_invalid else None,
                deferral,
            )
        )

    def _defer(self, result: SendResult, delivery: ClaimedDelivery) -> tuple[str, Deferral | None]:
        """Return the state of a message that was not taken, and how it waits if that is `deferred`."""
        tries, now = delivery.tries + 1, datetime.now(UTC)
        patience_left = (delivery.first_tried_at or now) + self._notice.patience - now
        validity_left = self._run.expires_at - now if self._run.expires_at else None
        if tries >= self._notice.max_tries:
            return SendOutcome.FAILED.value, None
        wait = next_wait(
            tries,
            jitter=random.random(),  # noqa: S311 - no secret
            asked=result.retry_after,
            time_left=patience_left if validity_left is None else min(patience_left, validity_left),
        )
        if wait is None:
            is_expiring = validity_left is not None and validity_left <= patience_left
            return "expired" if is_expiring else SendOutcome.FAILED.value, None
        position = delivery.recipient.position
        return "deferred", Deferral(position, DeferralReason.RETRY, wait, tries, result.destination)

    def _record_if_expired(self, message: Message) -> bool:
        """Return whether a message expired while it waited, and record it if so."""
        if message.expires_at is None or datetime.now(UTC) < message.expires_at:
            return False
        self.updates.append(DeliveryUpdate(message.delivery_id, "expired"))
        return True

    def _build_message(self, channel: Channel, claimed: ClaimedDelivery) -> Message | None:
        """Return the message of a delivery; None, and a failure, if its address is malformed or a template fails."""
        if not channel.accepts(claimed.address):
            self._fail(claimed, "malformed_address", f"not a valid {channel.name} address")
            return None
        link = self._links.build(claimed.recipient.user_id, self._notice.category)
        try:
            parts = self._templates.render(channel, claimed.recipient.values, unsubscribe_url=link.url)
        except TemplateBroken as broken:
            self._fail(claimed, "template_broken", str(broken))
            return None
        return Message(claimed.delivery_id, claimed.address, parts, self._run.expires_at, link.url, link.mailto)

    def _fail(self, claimed: ClaimedDelivery, error_class: str, error: str) -> None:
        self.updates.append(
            DeliveryUpdate(claimed.delivery_id, SendOutcome.FAILED.value, error_class=error_class, error=error)
        )
