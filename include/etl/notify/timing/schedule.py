"""The schedule of a run: from when on each of its recipients may be sent their message."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from etl.declare.notice import Notice
from etl.declare.timing.window import SendWindow
from etl.declare.timing.zones import find_zone
from etl.notify.timing.hours import next_allowed


class Schedule:
    """When the messages of a run may be sent.

    Parameters
    ----------
    notice
        Its window and its default time zone.
    is_urgent
        Whether the run waits for no window, since it is an announcement.
    """

    def __init__(self, notice: Notice, *, is_urgent: bool = False) -> None:
        self._window = None if is_urgent else notice.send_window
        self._default_zone = notice.time_zone

    def not_before(self, time_zone: str | None, now: datetime) -> datetime | None:
        """Return the instant before which a recipient is sent nothing; None if they may be sent a message now.

        Parameters
        ----------
        time_zone
            Name of the recipient's zone; of one that is missing or unknown the notice's default is used.
        now
            Aware.
        """
        if self._window is None:
            return None
        zone = find_zone(time_zone) or ZoneInfo(self._default_zone)
        # All recipients of one second and zone share an answer.
        allowed = _next_allowed(now.replace(microsecond=0), zone, self._window)
        return allowed if allowed > now else None


@lru_cache(maxsize=1_024)
def _next_allowed(now: datetime, zone: ZoneInfo, window: SendWindow) -> datetime:
    return next_allowed(now, zone, window)
