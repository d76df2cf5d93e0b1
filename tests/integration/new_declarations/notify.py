"""`python -m tests.integration.new_declarations.notify NAME PERIOD`: plan a notice and send it to memory."""

import json
import sys

from etl.catalog.notices import NOTICES
from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import NoticeHarness


def main(name: str, period: str) -> None:
    """Print the messages that arrived, by address."""
    (notice,) = (notice for notice in NOTICES if notice.name == name)
    with connect_warehouse() as db:
        post = NoticeHarness(db, rate_limits.connect(Endpoint.from_environment("limits")), notice=notice)
        post.send_all(period=period)
    sys.stdout.write(json.dumps({message.address: dict(message.parts) for message in post.mailbox.arrived}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
