"""A process that sends the unfinished chunks of a run, and is asked to end by SIGTERM.

The server acknowledges mails some time after it has them. Their addresses are written to a file, which outlives the
process.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.notify.channels.channel import Message, SendResult
from etl.notify.pacing import SendingStopped
from etl.notify.store import chunks
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import FAST, Mailbox, NoticeHarness

STOPPED = 75
"""Exit code of a sender that stopped because it was asked to."""


class SlowMailbox(Mailbox):
    """A mailbox that acknowledges each batch after a while."""

    def __init__(self, arrived: Path, delay: float) -> None:
        super().__init__()
        self._arrived = arrived
        self._delay = delay

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        with self._arrived.open("a") as file:
            file.writelines(f"{message.address}\n" for message in messages)
        await asyncio.sleep(self._delay)
        return await super().send(messages)


def main(run_id: int, arrived: Path, delay: float) -> int:
    with connect_warehouse() as db:
        limiter = rate_limits.connect(Endpoint.from_environment("limits"))
        harness = NoticeHarness(db, limiter, SlowMailbox(arrived, delay), replace(FAST, chunk_size=1_000))
        try:
            harness.send(run_id, chunks.list_unfinished(db, run_id))
        except SendingStopped:
            return STOPPED
    return 0


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    sys.exit(main(arguments["run_id"], Path(arguments["arrived"]), arguments["delay"]))
