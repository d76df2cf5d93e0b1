"""A step touches as many pages in a warehouse of many logins as in one of few, whatever the planner believes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache

import pytest
from upath import UPath

from benchmarks.support.grown_steps import STEPS, Steps
from benchmarks.support.grown_warehouse import GrownWarehouse
from benchmarks.support.pages_touched import count_pages
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from tests.integration.warehouse_copy import copy_warehouse

LOGINS = range(3, 8)
"""Of whom the batches are."""
FEW, MANY = 50, 1_000
"""Logins in all; the second warehouse has twenty times as many rows as the first."""
MAX_GROWTH, UNCOUNTED = 2, 200
"""Pages of a table that a step may touch in the larger warehouse: so many times as many as in the smaller one, since an
index is a level deeper, and so many more."""
STATISTICS = ("current", "none", "of an empty table")
"""What the planner knows of the tables."""

Pages = Mapping[str, Counter[str]]
"""Step → table → pages."""


@pytest.fixture(scope="module")
def pages(server: Endpoint, template: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], Pages]:
    """Return a function that runs all steps in a warehouse with so many logins and such statistics, once."""

    @cache
    def run(logins: int, statistics: str) -> Pages:
        root = UPath(tmp_path_factory.mktemp("raw").as_uri())
        with copy_warehouse(server, template, f"growth_{logins}") as warehouse, connect(warehouse) as db:
            disable_autovacuum(db)
            if statistics == "of an empty table":
                db.execute("analyze")
            GrownWarehouse(db, logins).fill()
            if statistics == "current":
                db.execute("analyze")
            return {name: count_pages(db, step) for name, step in Steps(db, root, LOGINS).all()}

    return run


def disable_autovacuum(db: Connection) -> None:
    """Keep the statistics of all tables as they are."""
    query = (
        "select c.oid::regclass::text from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('core', 'etl', 'notify') and c.relkind = 'r'"
    )
    for (table,) in db.execute(query).fetchall():
        db.execute(f"alter table {table} set (autovacuum_enabled = false)".encode())


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("step", STEPS)
def test_the_pages_that_a_step_touches_do_not_grow_with_the_logins(
    pages: Callable[[int, str], Pages], step: str, statistics: str
) -> None:
    few, many = pages(FEW, statistics)[step], pages(MANY, statistics)[step]
    grown = {
        table: (few[table], touched) for table, touched in many.items() if touched > few[table] * MAX_GROWTH + UNCOUNTED
    }
    assert not grown
    assert sum(many.values()) > 0
