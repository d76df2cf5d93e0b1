"""Window gate: lets messages wait until the send windows of their recipients open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from etl.declare.channel import Channel
from etl.declare.notice import Notice
from etl.notify.channels.channel import SendResult
from etl.notify.deferral.gate import Hold
from etl.notify.store.deliveries import ClaimedDelivery, DeferralReason
from etl.notify.store.runs import NoticeRun
from etl.notify.timing.schedule import Schedule


class WindowGate:
    """Holds the messages of recipients whose send window is closed; see `Gate`.

    A message that expires before waits until then, and ends as expired.

    Parameters
    ----------
    notice, run
        What is sent.
    """

    def __init__(self, notice: Notice, run: NoticeRun) -> None:
        self._schedule = Schedule(notice, is_urgent=run.is_announced)
        self._expires_at = run.expires_at

    def hold(self, _: Channel, delivery: ClaimedDelivery, /) -> Hold | None:
        """Return until when a message waits; None if its recipient may be sent it now."""
        now = datetime.now(UTC)
        opening = self._schedule.not_before(delivery.recipient.time_zone, now)
        if opening is None:
            return None
        return Hold(DeferralReason.QUIET_HOURS, min(opening, self._expires_at or opening) - now)

    def review(self, _: Channel, results: Sequence[SendResult], /) -> Sequence[SendResult]:
        """Return the results as they are."""
        return results
