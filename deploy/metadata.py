"""`python -m deploy.metadata`: prepare Airflow's metadata database; Airflow's settings come from the environment.

One process replaces half a dozen calls of `airflow`, each of which would spend seconds on imports.
"""

from airflow.models.pool import Pool
from airflow.utils import db

from etl.catalog.queues import QUEUES
from etl.declare.queue import TEST_POOL


def main() -> None:
    """Create or migrate the tables, and create or update the pools of every declared queue."""
    db.upgradedb()
    for pool in (*(pool for queue in QUEUES for pool in queue.pools), TEST_POOL):
        Pool.create_or_update_pool(pool.name, pool.slots, pool.summary, include_deferred=False)


if __name__ == "__main__":
    main()
