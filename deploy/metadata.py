"""Prepares Airflow's metadata database: `python -m deploy.metadata`, with Airflow's settings in the environment.

One program for what would be half a dozen calls of `airflow`, each of which costs seconds of imports.
"""

from airflow.models.pool import Pool
from airflow.utils import db

from etl.catalog.queues import QUEUES


def main() -> None:
    """Create or migrate the tables, and make every declared queue's pool what it is declared to be."""
    db.upgradedb()
    for pool in (pool for queue in QUEUES for pool in queue.pools):
        Pool.create_or_update_pool(pool.name, pool.slots, pool.summary, include_deferred=False)


if __name__ == "__main__":
    main()
