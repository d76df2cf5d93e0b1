"""Sends one chunk in a process of its own, and is killed on its way.

What arrives is written to a file, as a mail server would keep it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import Message
from etl.notify.store import deliveries
from etl.notify.store.deliveries import ClaimedPage
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, Mailbox, NoticeHarness

KILL_POINTS = ("claimed", "half_sent", "sent", "confirmed")


def main(point: str, run_id: int, arrived: Path, *, page: int, unknown: UnknownPolicy) -> None:
    mailbox = Mailbox()
    claims = lots = 0
    claim, confirm = deliveries.claim, deliveries.record_updates

    def die_at(here: str) -> None:
        if claims == page and point == here:
            os.kill(os.getpid(), signal.SIGKILL)

    def claimed(*values: Any) -> ClaimedPage:
        nonlocal claims, lots
        claims, lots = claims + 1, 0
        found = claim(*values)
        die_at("claimed")
        return found

    def arrive(messages: Sequence[Message]) -> None:
        nonlocal lots
        lots += 1
        with arrived.open("a") as file:
            file.writelines(f"{message.address}\n" for message in messages)
        if lots > 1:
            die_at("half_sent")

    def confirmed(*values: Any, **options: Any) -> None:
        die_at("sent")
        confirm(*values, **options)
        die_at("confirmed")

    mailbox.after = arrive
    mock.patch.object(deliveries, "claim", claimed).start()
    mock.patch.object(deliveries, "record_updates", confirmed).start()
    notice = replace(FAST, unknown=unknown, pace=5, chunk_size=100)
    with connect_warehouse() as db:
        post = NoticeHarness(db, rate_limits.connect(Endpoint.from_environment("limits")), mailbox, notice)
        post.send(run_id)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(
        given["point"],
        given["run_id"],
        Path(given["arrived"]),
        page=given["page"],
        unknown=UnknownPolicy(given["unknown"]),
    )
