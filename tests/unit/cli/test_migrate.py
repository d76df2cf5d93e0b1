"""What `sluice migrate --plan` and `--check` print."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from psycopg.sql import SQL

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.cli import migrate
from etl.db.migrations import AppliedMigration, Plan
from etl.db.tables.changes import Change, Obstacle, TablePlan

ADDED = Change("core.accounts", "add column memo text", SQL("select 1").format())
REFUSED = Obstacle("core.merchants", "column type is bigint", "drop it")
PLAN = Plan(
    [AppliedMigration("0001_core", datetime(2026, 11, 1, tzinfo=UTC), "x")],
    ["0099_new"],
    [
        TablePlan(ACCOUNTS, (ADDED,), (), is_recorded=False, needs_replay=False),
        TablePlan(MERCHANTS, (), (REFUSED,), is_recorded=True, needs_replay=False),
    ],
)


def test_a_plan_names_all_that_is_open(capsys: pytest.CaptureFixture[str]) -> None:
    migrate._show(PLAN, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "edited: 0001_core",
        "pending: 0099_new",
        "changes: core.accounts: add column memo text",
        "refused: core.merchants: column type is bigint; drop it",
        "unrecorded: accounts",
    ]


def test_a_plan_as_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    migrate._show(PLAN, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "is_open": True,
        "edited": ["0001_core"],
        "pending": ["0099_new"],
        "changes": ["core.accounts: add column memo text"],
        "refused": ["core.merchants: column type is bigint; drop it"],
        "unrecorded": ["accounts"],
    }


@pytest.mark.parametrize(
    ("table", "is_open"),
    [
        (TablePlan(ACCOUNTS, (), (), is_recorded=True, needs_replay=True), "up to date"),
        (TablePlan(ACCOUNTS, (), (), is_recorded=False, needs_replay=False), "open"),
        (TablePlan(ACCOUNTS, (ADDED,), (), is_recorded=True, needs_replay=False), "open"),
        (TablePlan(ACCOUNTS, (), (REFUSED,), is_recorded=True, needs_replay=False), "open"),
    ],
)
def test_a_plan_is_open_until_nothing_is_to_be_done(table: TablePlan, is_open: str) -> None:
    assert Plan([], [], [table]).is_open == (is_open == "open")
