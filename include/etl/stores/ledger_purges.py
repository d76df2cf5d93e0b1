"""What of the ledger of deliveries may be removed: what belongs to runs that ended long ago."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from psycopg.rows import scalar_row, tuple_row
from psycopg.sql import SQL

from etl.stores.statements import statement
from etl.stores.warehouse import Warehouse

RUNS = 100
"""Whose chunks are removed in one transaction; each has 256 at most."""
DELIVERIES = 10_000
"""That are looked at, and removed, in one transaction."""


def purge_chunks(warehouse: Warehouse, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove the chunks of runs that ended before an instant, and yield how many, a page of runs at a time."""
    after = 0
    while True:
        values = {"after": after, "before": before, "limit": RUNS, "dry_run": dry_run}
        with warehouse.cursor(row_factory=tuple_row) as cursor:
            ((last, chunks),) = cursor.execute(_named("chunks"), values).fetchall()
        if last is None:
            return
        yield chunks
        after = last


def purge_deliveries(warehouse: Warehouse, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove deliveries of runs that ended before an instant and have no chunks, and yield how many, a page at a time.

    Pages go on until the first of which everything was claimed later. It is where the past ends, save what was claimed
    again after long, which only waits for another day.

    Parameters
    ----------
    dry_run
        Whether to count only; runs may then still have their chunks.
    """
    after = 0
    while True:
        with warehouse.cursor(row_factory=tuple_row) as cursor:
            ((last, earliest),) = cursor.execute(_named("page"), {"after": after, "limit": DELIVERIES}).fetchall()
        if last is None or earliest >= before:
            return
        values = {"after": after, "last": last, "before": before}
        if dry_run:
            with warehouse.cursor(row_factory=scalar_row) as counting:
                (count,) = counting.execute(_named("count"), values).fetchall()
            yield int(count)
        else:
            yield warehouse.execute(_named("remove"), values).rowcount
        after = last


def unended(warehouse: Warehouse, *, before: datetime) -> list[int]:
    """Return the runs that were planned before an instant and have not ended."""
    with warehouse.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_named("unended"), {"before": before}).fetchall()


def _named(name: str) -> SQL:
    return statement("stores/ledger_purges", name)
