"""`python -m tests.integration.new_declarations.sync NAME`: run an entity's steps against the sandbox bank."""

import json
import sys
from dataclasses import asdict

from upath import UPath

from etl.catalog.entities import ENTITIES
from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.settings import Endpoint, Settings
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline

USERS = 3


def main(name: str) -> None:
    """Enrol users and run plan, download, store_raw, transform and load."""
    (entity,) = (entity for entity in ENTITIES if entity.name == name)
    settings = Settings.from_environment()
    with connect_warehouse() as db:
        pipeline = Pipeline(
            db,
            UPath(settings.raw_root),
            TokenCipher(settings.keys),
            Endpoint.from_environment("plaid"),
            rate_limits.connect(Endpoint.from_environment("limits")),
            entity=entity,
        )
        pipeline.link(USERS)
        (counts,) = pipeline.run("run")
    sys.stdout.write(json.dumps(asdict(counts)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
