"""Pages of tables and of their indexes that a session touches, whichever of its statements and triggers do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from etl.db.connection import Connection

_QUERY = """
select
    s.schemaname || '.' || regexp_replace(s.relname, '_\\d\\d$', '') as name,
    sum(
        coalesce(s.heap_blks_read, 0) + coalesce(s.heap_blks_hit, 0)
        + coalesce(s.idx_blks_read, 0) + coalesce(s.idx_blks_hit, 0)
    )::int as pages
from pg_statio_all_tables as s
where s.schemaname in ('core', 'etl', 'notify', 'sluice')
group by 1
"""


def count_pages(db: Connection, step: Callable[[], object]) -> Counter[str]:
    """Run a step on a connection, and return the pages that it read, from memory or disk: table → number.

    The table of a partition is its parent. A page that is read twice counts twice.
    """
    before = _read(db)
    step()
    return _read(db) - before


def _read(db: Connection) -> Counter[str]:
    # A session reports what it has touched when it is idle, at the latest after this.
    db.execute("select pg_stat_force_next_flush()")
    return Counter(dict(db.execute(_QUERY).fetchall()))
