"""`python -m benchmarks.support.sender RUN ORDINAL…`: send chunks of a run as a task does, without Airflow."""

from __future__ import annotations

import sys
import time

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.db.locks import LockTaken
from etl.errors import RetryAfter
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.send import send
from etl.settings import Endpoint


def main(run_id: int, ordinals: list[int]) -> None:
    """Send each chunk until it is finished."""
    server = Endpoint.from_environment("notices_email")
    config = EmailConfig.from_connection(host=server.host, port=server.port, login="", password="", extra=server.extra)
    limiter = rate_limits.connect(Endpoint.from_environment("limits"))
    with connect_warehouse() as db:
        for ordinal in ordinals:
            while True:
                try:
                    send(
                        MONTHLY_REPORT,
                        run_id,
                        ordinal,
                        db=db,
                        limiter=limiter,
                        senders={"email": EmailSender(config)},
                    )
                except (LockTaken, RetryAfter):
                    time.sleep(0.1)
                else:
                    break


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(ordinal) for ordinal in sys.argv[2:]])
