"""`python -m tests.integration.catalogue.notify NAME PERIOD`: plan a notice, and send it into a mailbox in memory."""

import json
import sys

from etl.catalog.notices import NOTICES
from etl.settings import Endpoint
from etl.stores import warehouse as warehouses
from etl.wire import limits
from tests.integration.notices.post import Post


def main(name: str, period: str) -> None:
    """Print what arrived, by address."""
    (notice,) = (notice for notice in NOTICES if notice.name == name)
    with warehouses.connect(Endpoint.from_environment("warehouse")) as warehouse:
        post = Post(warehouse, limits.connect(Endpoint.from_environment("limits")), notice=notice)
        post.send_all(period=period)
    sys.stdout.write(json.dumps({message.address: dict(message.parts) for message in post.mailbox.arrived}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
