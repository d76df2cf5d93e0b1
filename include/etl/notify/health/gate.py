"""The gate of the circuit breakers: holds messages to destinations that refuse them, and learns from their answers."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.db.connection import Connection
from etl.declare.notice import Channel, Notice
from etl.notify.channels.channel import Scope, SendOutcome, SendResult
from etl.notify.channels.destination import find_destination
from etl.notify.deferral.gate import Hold
from etl.notify.health.breaker import (
    CHANNEL,
    DOMAIN_POLICY,
    PROBES,
    PUT_OFF_WEIGHT,
    Answers,
    Breaker,
    begin_probe,
    count,
)
from etl.notify.pacing import MAX_BATCH_SIZE
from etl.notify.store import breakers
from etl.notify.store.breakers import Key
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.deliveries import ClaimedDelivery, DeferralReason
from etl.notify.store.runs import NoticeRun, RunState

log = logging.getLogger(__name__)

_PROBE_PAGE = 10
"""Enough for a few probes of different destinations."""
_HELD_WAIT = timedelta(seconds=1)
"""A held message may be tried as soon as its breaker closes, which decides when that is."""
_MIN_SHARED = 3
"""Refusals of a destination in a chunk from which on other senders hear of it."""
_MAX_REMEMBERED = 64
_MAX_DESTINATIONS = 1_000


@dataclass(frozen=True)
class _Failure:
    """A delivery that failed a moment ago, and may turn out to belong to a wave."""

    delivery_id: int
    position: int
    failed_at: datetime


class BreakerGate:
    """The circuit breakers of a notice, as the sender of one chunk sees them; see `Gate`.

    It costs no statement as long as nothing is refused and nobody else has seen refusals.

    Parameters
    ----------
    notice, chunk
        What is sent.
    db
        Where all senders share the breakers.
    clock
        Returns now, in UTC.
    """

    def __init__(
        self,
        notice: Notice,
        chunk: NoticeChunk,
        db: Connection,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._notice = notice
        self._chunk = chunk
        self._db = db
        self._clock = clock
        self._run: NoticeRun | None = None
        self._breakers: dict[Key, Breaker] = {}
        self._page: dict[int, ClaimedDelivery] = {}
        self._answers: dict[Key, Answers] = {}
        self._pending: dict[Key, Answers] = {}
        self._allowances: dict[Key, int] = {}
        self._probed: set[tuple[str, str]] = set()
        self._failures: dict[Key, deque[_Failure]] = defaultdict(lambda: deque(maxlen=_MAX_REMEMBERED))

    @property
    def is_refused(self) -> bool:
        """Whether all channels refuse everything, so that only probes are sent."""
        return len(self._refused_channels()) == len(self._notice.channels)

    @property
    def max_page_size(self) -> int:
        """Maximum number of recipients in a page: a few while only probes are sent."""
        if self._run is None or not self.is_refused:
            return MAX_BATCH_SIZE
        gives_up_at = max(self._gives_up_at(each, self._run) for each in self._refused_channels())
        return _PROBE_PAGE if self._clock() < min(gives_up_at, self._run.expires_at or gives_up_at) else MAX_BATCH_SIZE

    def begin_page(self, run: NoticeRun) -> timedelta:
        """Read what other senders have learnt, before a page is claimed.

        Returns
        -------
        timedelta
            Time until anything may be sent; zero if that is now.
        """
        self._run = run
        self._page.clear()
        self._allowances.clear()
        self._probed.clear()
        if run.has_breakers or self._breakers:
            self._breakers = {(each.channel, each.destination): each for each in breakers.read(self._db, run.notice_id)}
            self._recall_failures()
            self._forget_healthy(run)
        self._update_runs(run)
        if not self.is_refused:
            return timedelta()
        wake_at = min(self._wake_at(each, run) for each in self._refused_channels())
        return max(wake_at - self._clock(), timedelta())

    def hold(self, channel: Channel, delivery: ClaimedDelivery) -> Hold | None:
        """Return why a message is not sent now; None to send it, also as a probe."""
        self._page[delivery.delivery_id] = delivery
        if not self._breakers or self._run is None:
            return None
        destination = find_destination(channel, delivery.address)
        holding = [
            breaker
            for key in {(channel.name, CHANNEL): None, (channel.name, destination): None}
            if (breaker := self._breakers.get(key)) and breaker.is_open
        ]
        if not holding or self._is_probe(holding, destination):
            return None
        is_over = any(self._gives_up_at(each, self._run) <= self._clock() for each in holding)
        first = holding[0]
        return Hold(DeferralReason.HELD, None if is_over else _HELD_WAIT, destination, first.error_class, first.reason)

    def review(self, channel: Channel, results: Sequence[SendResult]) -> Sequence[SendResult]:
        """Count the results of a batch; what an ill destination refused is deferred instead of failed."""
        if not self._breakers and not any(_is_refusal(result) for result in results):
            return results
        located = [self._locate(channel, result) for result in results]
        answers = _count_answers(channel.name, located)
        now = self._clock()
        for key, each in answers.items():
            shared = each if key in self._breakers else self._add_pending(key, each)
            if shared is not None:
                breaker = self._breakers.get(key) or Breaker(*key, counted_at=now)
                self._breakers[key] = count(breaker, shared, as_of=now)
                self._answers[key] = self._answers.get(key, Answers()).followed_by(shared)
        return [self._defer_if_ill(channel, result) for result in located]

    def end_page(self) -> None:
        """Share what was learnt from a page whose outcomes are recorded."""
        run = self._run
        if run is None or not self._answers:
            return
        answers, self._answers = self._answers, {}

        def add_answers(rows: Sequence[Breaker], as_of: datetime) -> list[Breaker]:
            return [count(row, answers[row.channel, row.destination], as_of=as_of) for row in rows]

        self._change(run, answers, add_answers)
        self._recall_failures()
        self._update_runs(run)

    def _add_pending(self, key: Key, answers: Answers) -> Answers | None:
        """Return what is to be shared of a destination without a breaker; None if it has refused too little so far.

        Most mail domains have a few recipients: one bad address of each is no reason for as many rows.
        """
        pending = self._pending.pop(key, Answers()).followed_by(answers)
        if pending.refusals >= (_MIN_SHARED if key[1] else PUT_OFF_WEIGHT):
            return pending
        if pending.refusals:
            _keep_bounded(self._pending)
            self._pending[key] = pending
        return None

    def _is_probe(self, holding: Sequence[Breaker], destination: str) -> bool:
        """Return whether a held message is sent as a probe: a few of a destination, one of each if all are held."""
        first = holding[0]
        key = (first.channel, first.destination)
        if key not in self._allowances:
            self._allowances[key] = PROBES if first.is_probe_due(self._clock()) and self._begin_probe(first) else 0
        is_repeated = first.destination == CHANNEL != destination and (first.channel, destination) in self._probed
        if not self._allowances[key] or is_repeated:
            return False
        self._allowances[key] -= 1
        self._probed.add((first.channel, destination))
        for other in holding[1:]:
            self._begin_probe(other, is_forced=True)
        return True

    def _begin_probe(self, breaker: Breaker, *, is_forced: bool = False) -> bool:
        """Return whether this sender is to probe, and no other at the same time."""
        granted: list[Breaker] = []

        def begin(rows: Sequence[Breaker], as_of: datetime) -> list[Breaker]:
            granted.extend(row for row in rows if row.is_open and (is_forced or row.is_probe_due(as_of)))
            return [begin_probe(row, as_of=as_of) if row in granted else row for row in rows]

        if self._run is not None:
            self._change(self._run, [(breaker.channel, breaker.destination)], begin)
        return bool(granted)

    def _change(
        self,
        run: NoticeRun,
        keys: Iterable[Key],
        compute: Callable[[Sequence[Breaker], datetime], list[Breaker]],
    ) -> None:
        for before, after in breakers.change(self._db, run.notice_id, list(keys), compute):
            self._breakers[after.channel, after.destination] = after
            if before.is_open != after.is_open:
                log.warning(
                    "%s: %s %s is %s%s",
                    run.notice,
                    after.channel,
                    after.destination or "as a whole",
                    "held" if after.is_open else "accepted again",
                    f": {after.answer}" if after.is_open else "",
                )

    def _locate(self, channel: Channel, result: SendResult) -> SendResult:
        return replace(result, destination=find_destination(channel, self._page[result.delivery_id].address))

    def _defer_if_ill(self, channel: Channel, result: SendResult) -> SendResult:
        if result.outcome is not SendOutcome.FAILED:
            return result
        if self._is_open((channel.name, CHANNEL)) or self._is_open((channel.name, result.destination)):
            return replace(result, outcome=SendOutcome.DEFERRED, is_address_invalid=False)
        _keep_bounded(self._failures)
        position = self._page[result.delivery_id].recipient.position
        failure = _Failure(result.delivery_id, position, self._clock())
        self._failures[channel.name, result.destination].append(failure)
        return result

    def _recall_failures(self) -> None:
        """Defer what failed a moment ago at a destination that is ill, as it turned out."""
        since = self._clock() - DOMAIN_POLICY.memory
        for key in list(self._failures):
            if self._is_open(key) or self._is_open((key[0], CHANNEL)):
                recent = {each.delivery_id: each.position for each in self._failures.pop(key) if each.failed_at > since}
                breakers.recall(self._db, self._chunk, recent, destination=key[1])

    def _forget_healthy(self, run: NoticeRun) -> None:
        now = self._clock()
        healthy = [each for each in self._breakers.values() if each.is_forgettable(now)]
        if healthy:
            breakers.forget(self._db, run.notice_id, healthy)
        for each in healthy:
            del self._breakers[each.channel, each.destination]

    def _update_runs(self, run: NoticeRun) -> None:
        """Hold the runs of the notice if its channels refuse everything, and let them continue if they do no more."""
        if self.is_refused and run.state == RunState.RUNNING.value:
            breakers.hold_runs(self._db, run.notice_id, _describe(self._refused_channels()))
        elif run.is_refused and not self.is_refused:
            breakers.resume_runs(self._db, run.notice_id)

    def _refused_channels(self) -> list[Breaker]:
        keys = [(channel.name, CHANNEL) for channel in self._notice.channels]
        return [self._breakers[key] for key in keys if self._is_open(key)]

    def _is_open(self, key: Key) -> bool:
        breaker = self._breakers.get(key)
        return breaker is not None and breaker.is_open

    def _wake_at(self, breaker: Breaker, run: NoticeRun) -> datetime:
        """Return when messages that a breaker holds are looked at again: to probe, or since it is no use waiting."""
        instants = (breaker.probe_at, self._gives_up_at(breaker, run), run.expires_at)
        return min(instant for instant in instants if instant is not None)

    def _gives_up_at(self, breaker: Breaker, run: NoticeRun) -> datetime:
        return max(breaker.opened_at or run.planned_at, run.planned_at) + self._notice.patience


def _keep_bounded(by_destination: dict[Key, Any]) -> None:
    """Forget the destination that was added first if there are too many."""
    if len(by_destination) >= _MAX_DESTINATIONS:
        del by_destination[next(iter(by_destination))]


def _is_refusal(result: SendResult) -> bool:
    return result.outcome is not SendOutcome.SENT and _to_answers(result).attempts > 0


def _count_answers(channel: str, results: Sequence[SendResult]) -> dict[Key, Answers]:
    """Return what the results say about each destination, and about the channel as a whole."""
    answers: dict[Key, Answers] = {}
    for result in results:
        single = _to_answers(result)
        keys = (
            {(channel, CHANNEL)}
            if result.scope is Scope.SERVER
            else {(channel, CHANNEL), (channel, result.destination)}
        )
        for key in keys:
            answers[key] = answers.get(key, Answers()).followed_by(single)
    return {
        # A server that limits the rate accepts some, and puts off those that follow.
        key: replace(each, streak=min(each.streak, each.refused)) if each.accepted else each
        for key, each in answers.items()
    }


def _to_answers(result: SendResult) -> Answers:
    is_of_recipient = result.scope is Scope.RECIPIENT
    match result.outcome:
        case SendOutcome.SENT:
            return Answers(accepted=1)
        case SendOutcome.UNKNOWN if is_of_recipient:
            return Answers()
        case SendOutcome.FAILED | SendOutcome.UNKNOWN:
            # What takes messages and does not answer costs as much as what refuses them: each of them is in doubt.
            return Answers(
                refused=1,
                streak=1,
                is_certain=not is_of_recipient,
                error_class=result.error_class,
                reason=result.error,
            )
        case SendOutcome.DEFERRED if not is_of_recipient:
            return Answers(
                put_off=1,
                streak=PUT_OFF_WEIGHT,
                is_certain=True,
                error_class=result.error_class,
                reason=result.error,
            )
        case SendOutcome.DEFERRED:
            return Answers(postponed=1)
    return Answers()


def _describe(refused: Sequence[Breaker]) -> str:
    return "; ".join(f"{each.channel}: {each.answer}" for each in refused)
