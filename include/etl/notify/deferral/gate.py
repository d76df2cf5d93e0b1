"""Gates: what decides, while a run is sent, that messages wait without being tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from etl.declare.channel import Channel
from etl.notify.channels.channel import SendResult
from etl.notify.store.deliveries import ClaimedDelivery, DeferralReason


@dataclass(frozen=True)
class Hold:
    """Why a message waits, and how long; no try is spent.

    Parameters
    ----------
    reason
        Why.
    wait
        Time until it is claimed again.
    destination
        What is held, such as a mail domain; empty if that is not the reason.
    """

    reason: DeferralReason
    wait: timedelta
    destination: str = ""


class Gate(Protocol):
    """Holds messages back before they are sent, and judges the results of those that were."""

    def hold(self, channel: Channel, delivery: ClaimedDelivery, /) -> Hold | None:
        """Return why a claimed message is not sent now; None to send it. Called once for each message, before it."""

    def review(self, channel: Channel, results: Sequence[SendResult], /) -> Sequence[SendResult]:
        """Return the results of a batch, in their order, as they are to be recorded.

        It may turn `FAILED` into `DEFERRED`, so that a wave of refusals fails nothing and ends no address. A message is
        as good as not sent then, and is tried again.
        """
