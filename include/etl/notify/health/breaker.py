"""Circuit breaker: whether messages to a destination, or over a channel as a whole, are sent, held or probed.

closed ──(too many refusals)──▶ open ──(probe due)──▶ half open ──(accepted)──▶ closed
                                 ▲                        │
                                 └──────(refused)─────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

CHANNEL = ""
"""Destination that stands for a channel as a whole."""

PROBES = 3
"""Messages that are sent to find out whether an open breaker may close."""


PUT_OFF_WEIGHT = 0.2
"""What a message counts that was not taken now, against 1 of one that was refused for good."""

_EMAIL = "email"
_HEALTHY_SHARE = 0.01


class BreakerState(Enum):
    """What happens to the messages of a destination."""

    CLOSED = "closed"
    """They are sent."""
    OPEN = "open"
    """They are held."""
    HALF_OPEN = "half_open"
    """They are held, and a sender is trying a few."""


@dataclass(frozen=True)
class BreakerPolicy:
    """When a breaker opens, and how often it is probed.

    Parameters
    ----------
    streak
        It opens after so many refusals without an accepted message in between.
    share, attempts
        It also opens if more than this share of at least so many recent messages was refused.
    memory
        Messages count half after this time.
    max_attempts
        Messages count less, too, if more than so many came after them.
    first_probe, max_probe
        Time until the first probe, which doubles with each that is refused, and its maximum.
    """

    streak: int
    share: float
    attempts: int
    memory: timedelta = timedelta(minutes=5)
    max_attempts: int = 500
    first_probe: timedelta = timedelta(seconds=15)
    max_probe: timedelta = timedelta(minutes=15)


DOMAIN_POLICY = BreakerPolicy(streak=10, share=0.5, attempts=50)
"""Of mail domains. Even a list that was never cleaned has far fewer bad addresses."""
SERVICE_POLICY = BreakerPolicy(streak=50, share=0.95, attempts=100)
"""Of push services, where many applications may be uninstalled, and of channels as a whole: nothing gets through. One
ill domain, even a large one, is no reason to hold all."""
CERTAIN_STREAK = 10
"""So many refusals in a row are enough if they name the server or the destination as their cause."""


@dataclass(frozen=True)
class Answers:
    """What became of messages to a destination.

    Parameters
    ----------
    accepted, refused
        Messages that were accepted, or refused for good.
    put_off
        Messages that the server or the destination as a whole did not take now.
    postponed
        Messages that were deferred for their recipient only, as by greylisting.
    streak
        Refused messages after the last that was accepted; one that was put off counts a fifth, since a server that
        limits the rate puts off most messages, and accepts some.
    is_certain
        Whether the server or the destination was named as the cause of a refusal, not the recipient.
    error_class, reason
        Of the last refusal.
    """

    accepted: int = 0
    refused: int = 0
    put_off: int = 0
    postponed: int = 0
    streak: float = 0
    is_certain: bool = False
    error_class: str = ""
    reason: str = ""

    @property
    def attempts(self) -> int:
        """Messages that tell something."""
        return self.accepted + self.refused + self.put_off

    @property
    def refusals(self) -> float:
        """Weight of the messages that were not accepted."""
        return self.refused + PUT_OFF_WEIGHT * self.put_off

    def followed_by(self, later: Answers) -> Answers:
        """Return these answers and later ones together."""
        return Answers(
            self.accepted + later.accepted,
            self.refused + later.refused,
            self.put_off + later.put_off,
            self.postponed + later.postponed,
            later.streak if later.accepted else self.streak + later.streak,
            self.is_certain or later.is_certain,
            later.error_class or self.error_class,
            later.reason or self.reason,
        )


@dataclass(frozen=True)
class Breaker:
    """The breaker of a destination.

    Parameters
    ----------
    channel, destination
        Whose it is; `CHANNEL` for the channel as a whole.
    counted_at
        Instant as of which the counts are.
    state
        Its state.
    attempts, refusals
        Recent messages, and those of them that were refused; older ones count less.
    streak
        Refusals since the last accepted message.
    trips
        How often it has opened or failed a probe without a time of health in between.
    opened_at, probe_at
        Since when it is open, and when it is probed next; None while it is closed.
    error_class, reason
        Of the last refusal.
    """

    channel: str
    destination: str
    counted_at: datetime
    state: str = BreakerState.CLOSED.value
    attempts: float = 0
    refusals: float = 0
    streak: float = 0
    trips: int = 0
    opened_at: datetime | None = None
    probe_at: datetime | None = None
    error_class: str = ""
    reason: str = ""

    @property
    def answer(self) -> str:
        """The last refusal in the server's words."""
        return quote_answer(self.error_class, self.reason)

    @property
    def is_open(self) -> bool:
        """Whether messages are held; half open counts, since only its probes are sent."""
        return self.state != BreakerState.CLOSED.value

    def is_probe_due(self, as_of: datetime) -> bool:
        """Return whether a few messages should be sent although it is open."""
        return self.is_open and self.probe_at is not None and self.probe_at <= as_of

    @property
    def policy(self) -> BreakerPolicy:
        """When it opens."""
        return DOMAIN_POLICY if self.destination and self.channel == _EMAIL else SERVICE_POLICY

    def is_forgettable(self, as_of: datetime) -> bool:
        """Return whether nothing of it matters any more: it is old, or enough messages were accepted since."""
        is_old = as_of - self.counted_at > 2 * self.policy.memory
        is_healthy = (
            self.attempts >= self.policy.attempts and self.refusals < _HEALTHY_SHARE * self.attempts and not self.streak
        )
        return not self.is_open and (is_old or is_healthy)


def quote_answer(error_class: str, error: str) -> str:
    """Return a server's answer with its code, which stands before its text if that does not begin with it."""
    return error if error.startswith(error_class) else f"{error_class} {error}".strip()


def count(breaker: Breaker, answers: Answers, *, as_of: datetime) -> Breaker:
    """Return a breaker after more answers.

    Parameters
    ----------
    as_of
        When the answers came.
    """
    if breaker.is_open:
        # While it is open, answers still come for messages that were sent before.
        return _count_probes(breaker, answers, as_of) if breaker.state == BreakerState.HALF_OPEN.value else breaker
    policy = breaker.policy
    weight = 0.5 ** (max(as_of - breaker.counted_at, timedelta()) / policy.memory)
    attempts = breaker.attempts * weight + answers.attempts
    refusals = breaker.refusals * weight + answers.refusals
    excess = max(1.0, attempts / policy.max_attempts)
    counted = replace(
        breaker,
        counted_at=as_of,
        attempts=attempts / excess,
        refusals=refusals / excess,
        streak=answers.streak if answers.accepted else breaker.streak + answers.streak,
        trips=0 if breaker.is_forgettable(as_of) else breaker.trips,
        error_class=answers.error_class or breaker.error_class,
        reason=answers.reason or breaker.reason,
    )
    return _open(counted, as_of) if answers.refusals and _is_ill(counted, answers) else counted


def begin_probe(breaker: Breaker, *, as_of: datetime) -> Breaker:
    """Return a breaker of which the caller sends probes; another sender may do so later, if no answers come."""
    return replace(breaker, state=BreakerState.HALF_OPEN.value, probe_at=as_of + _probe_delay(breaker))


def _is_ill(breaker: Breaker, answers: Answers) -> bool:
    policy = breaker.policy
    streak = CERTAIN_STREAK if answers.is_certain else policy.streak
    if breaker.streak >= streak:
        return True
    windows = ((breaker.attempts, breaker.refusals), (answers.attempts, answers.refusals))
    return any(attempts >= policy.attempts and refusals >= policy.share * attempts for attempts, refusals in windows)


def _count_probes(breaker: Breaker, answers: Answers, as_of: datetime) -> Breaker:
    """Close the breaker if a mail domain accepted most probes, or anything else at least one; else wait longer."""
    accepted, refused = answers.accepted + answers.postponed, answers.refused + answers.put_off
    if accepted > (refused if breaker.policy is DOMAIN_POLICY else 0):
        return Breaker(breaker.channel, breaker.destination, as_of, trips=breaker.trips)
    if not refused:
        return breaker
    error_class, reason = answers.error_class or breaker.error_class, answers.reason or breaker.reason
    return _open(replace(breaker, error_class=error_class, reason=reason), as_of)


def _open(breaker: Breaker, as_of: datetime) -> Breaker:
    opened = replace(
        breaker,
        state=BreakerState.OPEN.value,
        trips=breaker.trips + 1,
        opened_at=breaker.opened_at or as_of,
        counted_at=as_of,
    )
    return replace(opened, probe_at=as_of + _probe_delay(opened))


def _probe_delay(breaker: Breaker) -> timedelta:
    doublings = min(max(breaker.trips - 1, 0), 20)
    return min(breaker.policy.first_probe * 2.0**doublings, breaker.policy.max_probe)
