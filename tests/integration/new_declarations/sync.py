"""`python -m tests.integration.new_declarations.sync NAME`: run an entity's steps against its provider."""

import json
import sys
from dataclasses import asdict

from upath import UPath

from etl.catalog.entities import ENTITIES
from etl.catalog.providers.plaid import PLAID
from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.settings import Endpoint, Settings
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline

USERS = 3


def main(name: str) -> None:
    """Run plan, download, store_raw, transform and load; the sandbox bank first gets users, as others have theirs."""
    (entity,) = (entity for entity in ENTITIES if entity.name == name)
    settings = Settings.from_environment()
    with connect_warehouse() as db:
        pipeline = Pipeline(
            db,
            UPath(settings.raw_root),
            TokenCipher(settings.keys),
            Endpoint.from_environment(entity.provider.connection),
            rate_limits.connect(Endpoint.from_environment("limits")),
            entity=entity,
        )
        if entity.provider == PLAID:
            pipeline.link(USERS)
        (counts,) = pipeline.run("run")
    sys.stdout.write(json.dumps(asdict(counts)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
