"""`python -m benchmarks.support.sender RUN ORDINAL…`: send chunks as a task does, in a bare process."""

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
    """Send each chunk to its end."""
    held = Endpoint.from_environment("notices_email")
    mailing = EmailConfig.from_connection(host=held.host, port=held.port, login="", password="", extra=held.extra)
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
                        senders={"email": EmailSender(mailing)},
                    )
                except (LockTaken, RetryAfter):
                    time.sleep(0.1)
                else:
                    break


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(each) for each in sys.argv[2:]])
