"""Expired chunks and deliveries of notices: finds and removes them, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("maintenance/expired_deliveries")

MAX_RUNS = 100
"""Notice runs whose chunks, at most 256 each, one transaction removes."""

MAX_DELIVERIES = 10_000
"""Deliveries that one transaction checks and removes."""


def purge_run_chunks(db: Connection, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove the chunks of notice runs that ended before an instant, and yield their number for each page of runs."""
    after = 0
    while True:
        values = {"after": after, "before": before, "limit": MAX_RUNS, "dry_run": dry_run}
        ((last, chunks),) = _SQL["purge_run_chunks"].rows(db, values)
        if last is None:
            return
        yield chunks
        after = last


def purge_deliveries(db: Connection, *, before: datetime, dry_run: bool) -> Iterator[int]:
    """Remove deliveries of runs that ended before an instant and have no chunks, and yield their number for each page.

    Stop at the first page with no delivery that was claimed before that instant. Older rows that were claimed again
    later are removed by a later purge.

    Parameters
    ----------
    dry_run
        Whether to count only; the runs may then still have their chunks.
    """
    after = 0
    while True:
        ((last, earliest),) = _SQL["next_delivery_page"].rows(db, {"after": after, "limit": MAX_DELIVERIES})
        if last is None or earliest >= before:
            return
        values = {"after": after, "last": last, "before": before}
        if dry_run:
            yield int(_SQL["count_expired_deliveries"].scalar(db, values))
        else:
            yield _SQL["purge_deliveries"].run(db, values)
        after = last


def purge_bounces(db: Connection, *, before: datetime, dry_run: bool) -> int:
    """Remove what was said against addresses before an instant, and return how much; what ended an address stays."""
    return int(_SQL["purge_bounces"].scalar(db, {"before": before, "dry_run": dry_run}))


def find_unfinished_runs(db: Connection, *, before: datetime) -> list[int]:
    """Return the ids of the runs that were planned before an instant and have not ended."""
    return _SQL["unfinished_runs"].scalars(db, {"before": before})
