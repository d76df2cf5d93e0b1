"""Adaptive limits: how many messages at a time, and how fast, a server or a destination takes."""

from __future__ import annotations

import math
from collections import deque
from datetime import timedelta
from enum import Enum, auto

MAX_RETRY_AFTER = timedelta(hours=1)
"""Longest wait that a server may ask for."""

_THROTTLE_PAUSE, _OUTAGE_PAUSE, _MAX_PAUSE = 0.25, 30.0, 300.0
"""Seconds: the first pause of what asked to slow down, and of what did not answer; each further one doubles."""
_MAX_DOUBLINGS = 10
_MAX_FAULTS = 5
"""Server errors in a row that pause it; a single message may cause fewer."""

_DECREASE = 0.7
_INCREASE_PER_SECOND = 0.05
"""Share of the rate of the last throttling."""
_MIN_RATE = 1.0
_GROWTH_INTERVAL = 15.0
"""Seconds until one more message may be in flight."""
_RATE_WINDOW, _MIN_SAMPLES, _MAX_SAMPLES = 2.0, 5, 100
"""Seconds and numbers of the answers by which the accepted rate is measured."""


class Signal(Enum):
    """What the result of one message says about the load of its server or destination."""

    NOT_SENT = auto()
    """Nothing: it was not sent."""
    ANSWERED = auto()
    """It answered, whatever became of the message."""
    THROTTLED = auto()
    """It asked to slow down."""
    FAULTY = auto()
    """An error that may be due to this message, or to its load."""
    CAPPED = auto()
    """It accepted no further connection, and keeps others open."""
    NOT_CONNECTED = auto()
    """It accepted no further connection."""
    SILENT = auto()
    """It did not answer in time."""


class AdaptiveLimit:
    """How many messages may be in flight and may start per second: fewer at each throttling, slowly more later.

    All times are seconds of one monotonic clock, which the caller reads.

    Parameters
    ----------
    max_concurrency
        Most messages in flight.
    is_proven
        Whether it may have all of them at once; otherwise it starts with one, and has one more for each answer.

    Attributes
    ----------
    in_flight
        Messages that have started and not ended.
    is_proven
        Whether it has answered before, or was known.
    reason
        Why it is limited, in the words of its last refusal.

    Source: Chiu and Jain, "Analysis of the Increase and Decrease Algorithms" (1989); slow start is that of RFC 5681.
    """

    __slots__ = (
        *("_answers", "_changed_at", "_concurrency", "_faults", "_grown_at", "_increase", "_max_concurrency"),
        *(
            "_next_at",
            "_paused_until",
            "_pauses",
            "_rate",
            "_shrunk_at",
            "_threshold",
            "in_flight",
            "is_proven",
            "reason",
        ),
    )

    def __init__(self, max_concurrency: int, *, is_proven: bool = True) -> None:
        self.in_flight = 0
        self.reason = ""
        self.is_proven = is_proven
        self._max_concurrency = max_concurrency
        self._concurrency = float(max_concurrency if is_proven else 1)
        self._threshold = max_concurrency
        self._rate = math.inf
        self._increase = 0.0
        self._next_at = self._paused_until = self._changed_at = self._grown_at = 0.0
        self._shrunk_at = -math.inf
        self._faults = self._pauses = 0
        self._answers: deque[float] | None = None

    @property
    def concurrency(self) -> int:
        """Messages that may be in flight; at least 1."""
        return int(self._concurrency)

    @property
    def rate(self) -> float:
        """Messages that may start per second; infinite until it was throttled."""
        return self._rate

    def wait(self, now: float) -> float:
        """Return the seconds until a message may start, apart from those in flight."""
        return max(0.0, self._paused_until - now, self._next_at - now)

    def start(self, now: float) -> None:
        """Count a message that starts."""
        self.in_flight += 1
        if self._rate != math.inf:
            self._next_at = max(now, self._next_at) + 1 / self._rate

    def finish(self, signal: Signal, *, started_at: float, now: float, retry_after: timedelta | None = None) -> None:
        """Count a message that has ended, and adapt to its result.

        Of the messages in flight when the limit shrank, none shrinks it again.
        """
        in_flight = self.in_flight
        self.in_flight -= 1
        asked = 0.0 if retry_after is None else min(retry_after, MAX_RETRY_AFTER).total_seconds()
        is_recent = started_at >= self._shrunk_at
        match signal:
            case Signal.ANSWERED:
                self._grow(now, is_recent=is_recent)
            case Signal.THROTTLED:
                if is_recent:
                    self._shrink(now)
                    self._pause(now, _THROTTLE_PAUSE)
                self._pause_until(now + asked)
            case Signal.FAULTY:
                self._faults += 1
                if self._faults >= _MAX_FAULTS and is_recent:
                    self._start_anew(now)
                    self._pause_until(now + asked)
            case Signal.CAPPED:
                self._limit(self.concurrency - 1, now)
            case Signal.NOT_CONNECTED:
                # Whatever is in flight besides has a connection, or fails next and lowers it further.
                self._limit(min(self.concurrency, in_flight) - 1, now)
                if in_flight <= 1:
                    self._start_anew(now)
            case Signal.SILENT:
                if is_recent:
                    self._start_anew(now)

    def _grow(self, now: float, *, is_recent: bool) -> None:
        self.is_proven = True
        if is_recent:
            self._faults = self._pauses = 0
        if self._answers is None:
            self._answers = deque(maxlen=_MAX_SAMPLES)
        self._answers.append(now)
        if self._concurrency < self._max_concurrency and (
            self._concurrency < self._threshold or now - self._changed_at >= _GROWTH_INTERVAL
        ):
            self._concurrency += 1
            self._changed_at = now
        if self._rate != math.inf and is_recent:
            self._rate += min(self._increase, self._rate) * min(now - self._grown_at, 1.0)
            self._grown_at = now

    def _shrink(self, now: float) -> None:
        """Lower the rate to a share of what was accepted; if that is not known yet, the messages in flight."""
        accepted_rate = min(self._rate, self._measure_rate(now))
        if accepted_rate == math.inf and self.concurrency > 1:
            self._limit(self.concurrency // 2, now)
            return
        # A server that refuses even single messages before its rate is known: find it from below, by doubling.
        is_guess = accepted_rate == math.inf
        self._rate = _MIN_RATE if is_guess else max(_MIN_RATE, accepted_rate * _DECREASE)
        self._increase = math.inf if is_guess else max(_MIN_RATE, accepted_rate) * _INCREASE_PER_SECOND
        self._grown_at = now

    def _start_anew(self, now: float) -> None:
        """Pause; then try one message, and double what is in flight up to half of what is possible."""
        self._limit(1, now)
        self._threshold = max(1, self._max_concurrency // 2)
        self._pause(now, _OUTAGE_PAUSE)

    def _limit(self, concurrency: int, now: float) -> None:
        self._threshold = max(1, concurrency)
        self._concurrency = float(self._threshold)
        self._changed_at = now

    def _measure_rate(self, now: float) -> float:
        """Return the answers per second; infinite if there were too few to tell."""
        answers = self._answers
        while answers and answers[0] < now - _RATE_WINDOW:
            answers.popleft()
        if not answers or len(answers) < _MIN_SAMPLES or now == answers[0]:
            return math.inf
        return len(answers) / (now - answers[0])

    def _pause(self, now: float, seconds: float) -> None:
        self._shrunk_at = now
        length = min(seconds * 2 ** min(self._pauses, _MAX_DOUBLINGS), _MAX_PAUSE)
        self._pauses += 1
        self._pause_until(now + length)

    def _pause_until(self, until: float) -> None:
        self._paused_until = max(self._paused_until, until)
