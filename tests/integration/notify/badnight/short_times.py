"""All waits of the product divided by one number, so that a night passes in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from etl.notify import send
from etl.notify.channels import adaptive, dispatcher
from etl.notify.deferral import backoff
from etl.notify.health import breaker

SCALE = 240
"""A minute is a quarter of a second. What servers do per second, and wait for replies, is not shortened by this."""

REPLY_TIMEOUT = timedelta(seconds=1)
"""A healthy server answers sooner, also on a machine that is busy."""


@contextmanager
def shorten_times() -> Iterator[None]:
    """Divide the waits of backoff, adaptive limits, circuit breakers and rescheduled tasks by `SCALE`."""
    with pytest.MonkeyPatch.context() as patch:
        for module, names in (
            (backoff, ("FIRST_WINDOW", "MAX_WINDOW", "MIN_WAIT")),
            (adaptive, ("_OUTAGE_PAUSE", "_MAX_PAUSE", "_THROTTLE_PAUSE", "_GROWTH_INTERVAL")),
            (dispatcher, ("MAX_WAIT", "_MIN_RETRY_AFTER")),
            (send, ("MAX_WAIT_IN_SLOT", "MAX_RESCHEDULE")),
        ):
            for name in names:
                patch.setattr(module, name, getattr(module, name) / SCALE)
        for name in ("DOMAIN_POLICY", "SERVICE_POLICY"):
            policy = getattr(breaker, name)
            times = {"first_probe": policy.first_probe / SCALE, "max_probe": policy.max_probe / SCALE}
            patch.setattr(breaker, name, replace(policy, **times))
        yield
