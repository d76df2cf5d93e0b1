"""Hand over: the messages of one page, from claimed rows to what the servers said."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from etl.declare.notice import Medium, Notice, Unknown
from etl.errors import MustWait
from etl.notify.channels.channel import Channel, Message, Outcome, Result
from etl.notify.pacing import LONGEST_WAIT, Turnstile
from etl.notify.store.deliveries import Claimed, Ending
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import TemplateBroken, Templates
from etl.notify.unsubscribe_links import Links

TRIES = 3
"""How often a message is handed over that is not taken now, or whose connection broke."""
PAUSE_BETWEEN_TRIES = timedelta(milliseconds=500)


class ServerTakesNothing(MustWait):
    """Of a page of messages a server took none, and refused none for good."""

    def __init__(self, run: NoticeRun, medium: Medium, host: str, found: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: the {medium.name} server {host} takes nothing ({found}); nobody got "
            "anything, and it is tried again.",
            LONGEST_WAIT,
        )


class HandOver:
    """The messages of one page.

    Parameters
    ----------
    notice, run
        What is sent.
    claimed
        Its messages.
    words
        Its templates.
    steering
        Lets them through.
    carriers
        Name of a medium → its open channel.
    links
        Write how each recipient ends such messages.

    Attributes
    ----------
    endings
        What came of those that have ended.
    """

    def __init__(
        self,
        notice: Notice,
        run: NoticeRun,
        claimed: Sequence[Claimed],
        *,
        words: Templates,
        steering: Turnstile,
        carriers: Mapping[str, Channel],
        links: Links,
    ) -> None:
        self.endings: list[Ending] = []
        self._notice = notice
        self._run = run
        self._words = words
        self._steering = steering
        self._carriers = carriers
        self._links = links
        self._claimed = {one.delivery_id: one for one in claimed}
        self._in_flight: set[int] = set()
        self._doubts: Counter[int] = Counter()
        self._refused: dict[int, Result] = {}

    @property
    def untouched(self) -> list[int]:
        """Deliveries that certainly nobody got, and that have not ended."""
        return [one for one in self._open() if not self._doubts[one]]

    async def all(self) -> None:
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
                if one.channel == medium.name and (message := self._message(medium, one)) is not None
            ]
            try:
                await self._over(medium, messages)
            except ServerTakesNothing as error:
                silent = error
        if silent:
            raise silent

    def give_up(self) -> None:
        """Let those that no server takes fail, for good."""
        for delivery_id in self._refused.keys() & set(self._open()):
            self._fail(delivery_id)

    def leave(self) -> None:
        """Let those of which nobody can tell whether they arrived be unknown, since the page ends early."""
        for delivery_id in self._open():
            if self._doubts[delivery_id]:
                self._end(delivery_id, Outcome.UNKNOWN)

    async def _over(self, medium: Medium, messages: Sequence[Message]) -> None:
        left = messages
        for tried in range(1, TRIES + 1):
            left = await self._once(medium, left, last=tried == TRIES)
            if not left:
                return
            if tried < TRIES:
                await asyncio.sleep(PAUSE_BETWEEN_TRIES.total_seconds() * tried)
        if len(left) == len(messages):
            found = self._refused[left[0].delivery_id].error_class
            raise ServerTakesNothing(self._run, medium, self._carriers[medium.name].host, found)
        for message in left:
            self._fail(message.delivery_id)

    async def _once(self, medium: Medium, messages: Sequence[Message], *, last: bool) -> list[Message]:
        """Hand messages over in lots, as the pace allows, and return those that have not ended.

        What came of a lot is kept before the next, which may never be sent.
        """
        carrier = self._carriers[medium.name]
        again: list[Message] = []
        done = 0
        while done < len(messages):
            size = await self._steering.take(medium, carrier.host, len(messages) - done)
            lot = [message for message in messages[done : done + size] if not self._expired(message)]
            done += size
            self._in_flight = {message.delivery_id for message in lot}
            results = await carrier.send(lot) if lot else []
            again += [
                message
                for result, message in zip(results, lot, strict=True)
                if not self._ended_by(result, message, last=last)
            ]
            self._in_flight = set()
        return again

    def _ended_by(self, result: Result, message: Message, *, last: bool) -> bool:
        """Return whether this is what came of a message; it is handed over again if not."""
        if result.outcome is Outcome.DEFERRED:
            self._refused[result.delivery_id] = result
            return False
        if result.outcome is Outcome.UNKNOWN:
            self._doubts[result.delivery_id] += 1
            if self._notice.unknown is Unknown.RESEND and not last:
                return False
        ended = message.address if result.address_ended else None
        self._end(result.delivery_id, result.outcome, result.error_class, result.error, ended)
        return True

    def _fail(self, delivery_id: int) -> None:
        """End a message that is not taken."""
        refused = self._refused[delivery_id]
        self._end(delivery_id, Outcome.FAILED, refused.error_class, refused.error)

    def _end(
        self,
        delivery_id: int,
        outcome: Outcome,
        error_class: str = "",
        error: str = "",
        ended_address: str | None = None,
    ) -> None:
        doubts = self._doubts[delivery_id]
        self.endings.append(Ending(delivery_id, outcome.value, doubts, error_class, error, ended_address))

    def _open(self) -> list[int]:
        """Return the deliveries that have not ended and are not in flight."""
        ended = {ending.delivery_id for ending in self.endings}
        return [one for one in self._claimed if one not in ended and one not in self._in_flight]

    def _expired(self, message: Message) -> bool:
        """Return whether a message came to be of no use while it waited."""
        if message.expires_at is None or datetime.now(UTC) < message.expires_at:
            return False
        self.endings.append(Ending(message.delivery_id, "expired", self._doubts[message.delivery_id]))
        return True

    def _message(self, medium: Medium, one: Claimed) -> Message | None:
        """Return what is handed over; None if it cannot be written, or its address not be used."""
        if not medium.takes(one.address):
            self._end(one.delivery_id, Outcome.FAILED, "malformed_address", f"no address of {medium.name}")
            return None
        link = self._links.of(one.recipient.user_id, self._notice.category)
        try:
            parts = self._words.render(medium, one.recipient.values, unsubscribe_url=link.url)
        except TemplateBroken as broken:
            self._end(one.delivery_id, Outcome.FAILED, "template_broken", str(broken))
            return None
        return Message(one.delivery_id, one.address, parts, self._run.expires_at, link.url, link.mailto)
