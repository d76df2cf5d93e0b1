"""Each fault once, with few recipients; `make badnight` plays them with 2,000."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from tests.integration.notify.badnight.faults import FAULTS, Fault
from tests.integration.notify.badnight.night import play

RECIPIENTS = 100


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_message_arrives_once_or_ends_in_a_named_way(
    fault: Fault, connect: Callable[[], Connection], limiter: Limiter, tmp_path: Path
) -> None:
    night = play(fault, recipients=RECIPIENTS, seed=1, connect=connect, limiter=limiter, folder=tmp_path)
    assert not night.violations, night
