"""Whom the benchmarks of notices tell: users with a bank login, an address and a month of payments, made by SQL."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from psycopg.rows import scalar_row

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.declare.sql_file import read_statements
from etl.notify.store import recipients, runs

MONTH, MONTH_BEFORE = "2025-05", "2025-04"
"""In which they spent something. Long over, so that no scheduled run is about them."""

UNSUBSCRIBE = {"SLUICE_UNSUBSCRIBE_URL": "https://bank.example/unsubscribe"}
"""Lets every mail have its own link, as in production."""

_STATES_PER_THOUSAND = {"sent": 972, "failed": 1, "suppressed": 25, "unreachable": 2}
_PAGE, _PAGES = 1_000, 20
_TABLES = (
    "core.users",
    "core.provider_accounts",
    "core.transactions",
    "notify.contacts",
    "notify.consents",
    "notify.suppressions",
)


def add_users(db: Connection, users: int, *, category: str) -> None:
    """Add users until there are so many.

    Parameters
    ----------
    users
        A multiple of a thousand.
    category
        Of the notice that some of them do not want.
    """
    statements = read_statements(Path(__file__).with_suffix(".sql"))
    with db.cursor(row_factory=scalar_row) as cursor:
        (there,) = cursor.execute(statements["count_users"].encode()).fetchall()
        values = {"first": there + 1, "last": users, "category": category}
        for name in ("users", "logins", "contacts", "consents", "suppressions"):
            cursor.execute(statements[name].encode(), values)
        (raw_id,) = cursor.execute(statements["raw_batch"].encode(), values).fetchall()
        cursor.execute(statements["payments"].encode(), {**values, "raw_id": raw_id})
        # As autovacuum does on a database that has been there for a day.
        for table in _TABLES:
            cursor.execute(f"vacuum (analyze) {table}".encode())


def expected(users: int) -> dict[str, int]:
    """Return what must become of so many users, a multiple of a thousand, where nothing breaks."""
    return {state: count * users // 1000 for state, count in _STATES_PER_THOUSAND.items()}


def page_cost(db: Connection, notice: Notice, run_id: int, users: int) -> float:
    """Return the seconds that it takes to read a page of a thousand of so many users, the median of some pages."""
    run = runs.find(db, run_id)
    seconds = []
    for page in range(_PAGES):
        began = time.perf_counter()
        recipients.read_page(db, notice, run, after=page * users // _PAGES, stop=users + 1, limit=_PAGE)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
