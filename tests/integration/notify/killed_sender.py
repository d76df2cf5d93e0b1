"""A process that sends one chunk and kills itself at a given point.

The addresses of sent messages are written to a file, which outlives the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.declare.notice import UnknownPolicy
from etl.notify.channels.channel import Message
from etl.notify.store import deferrals, deliveries
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, Mailbox, NoticeHarness

Claimed = TypeVar("Claimed")
KILL_POINTS = ("claimed", "half_sent", "sent", "confirmed")


def main(point: str, run_id: int, arrived: Path, *, page: int, unknown: UnknownPolicy) -> None:
    mailbox = Mailbox()
    claims = batches = 0
    claim, claim_due, confirm = deliveries.claim, deferrals.claim, deliveries.record_updates

    def die_if_at(current: str) -> None:
        if claims == page and point == current:
            os.kill(os.getpid(), signal.SIGKILL)

    def claim_and_die(*values: Any, claim: Callable[..., Claimed]) -> Claimed:
        nonlocal claims, batches
        claims, batches = claims + 1, 0
        claimed = claim(*values)
        die_if_at("claimed")
        return claimed

    def record_arrivals(messages: Sequence[Message]) -> None:
        nonlocal batches
        batches += 1
        with arrived.open("a") as file:
            file.writelines(f"{message.address}\n" for message in messages)
        if batches > 1:
            die_if_at("half_sent")

    def confirm_and_die(*values: Any, **options: Any) -> None:
        die_if_at("sent")
        confirm(*values, **options)
        die_if_at("confirmed")

    mailbox.after = record_arrivals
    mock.patch.object(deliveries, "claim", partial(claim_and_die, claim=claim)).start()
    mock.patch.object(deferrals, "claim", partial(claim_and_die, claim=claim_due)).start()
    mock.patch.object(deliveries, "record_updates", confirm_and_die).start()
    notice = replace(FAST, unknown=unknown, pace=5, chunk_size=100)
    with connect_warehouse() as db:
        post = NoticeHarness(db, rate_limits.connect(Endpoint.from_environment("limits")), mailbox, notice)
        post.send(run_id)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    main(
        arguments["point"],
        arguments["run_id"],
        Path(arguments["arrived"]),
        page=arguments["page"],
        unknown=UnknownPolicy(arguments["unknown"]),
    )
