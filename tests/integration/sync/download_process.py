"""`python -m tests.integration.sync.download_process ARGUMENTS`: a download that a test kills."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.clients import rate_limits
from etl.db import connection
from etl.settings import Endpoint
from etl.sync.download import download
from etl.sync.logins.store.token_cipher import TokenCipher


def main(arguments: dict[str, object]) -> None:
    """Download the first chunk of the run."""
    database = Endpoint(**arguments["database"])  # type: ignore[arg-type]
    with connection.connect(database) as db:
        download(
            replace(TRANSACTIONS, source=replace(TRANSACTIONS_SYNC, limits=())),
            "run",
            0,
            db=db,
            root=UPath(str(arguments["root"])),
            cipher=TokenCipher([str(arguments["key"])]),
            endpoint=Endpoint(str(arguments["bank"]), login="id", password="secret"),
            limiter=rate_limits.connect(Endpoint("127.0.0.1")),
        )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
