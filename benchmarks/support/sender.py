"""`python -m benchmarks.support.sender RUN ORDINAL…`: send chunks as a task does, in a bare process."""

from __future__ import annotations

import sys
import time

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients import rate_limits
from etl.db import connection as warehouse
from etl.db.locks import LockTaken
from etl.errors import MustWait
from etl.notify.channels.email import EmailChannel, Mailing
from etl.notify.send import send
from etl.settings import Endpoint


def main(run_id: int, ordinals: list[int]) -> None:
    """Send each chunk to its end."""
    held = Endpoint.from_environment("notices_email")
    mailing = Mailing.of_connection(host=held.host, port=held.port, login="", password="", extra=held.extra)
    limiter = rate_limits.connect(Endpoint.from_environment("limits"))
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        for ordinal in ordinals:
            while True:
                try:
                    send(
                        MONTHLY_REPORT,
                        run_id,
                        ordinal,
                        warehouse=connection,
                        limiter=limiter,
                        channels={"email": EmailChannel(mailing)},
                    )
                except (LockTaken, MustWait):
                    time.sleep(0.1)
                else:
                    break


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(each) for each in sys.argv[2:]])
