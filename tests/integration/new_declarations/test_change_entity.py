"""A column is added as docs/change_entity.md says, to a deployment that has rows, and is filled by two commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.settings import Endpoint
from tests.integration.new_declarations.examples import examples
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.project_copy import ProjectCopy
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
PAGE = "docs/change_entity.md"
CONFIDENCE = {"primary": "FOOD", "detailed": "FOOD_COFFEE", "confidence_level": "LOW"}
VERSION = TRANSACTIONS.version + 1
VALUES = "select t.transaction_id, t.category_confidence, t.observed_at from core.transactions as t order by 1"


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    copy = ProjectCopy.make(tmp_path / "project")
    column, version = examples("Add a column", "text", page=PAGE)
    path = copy.declaration("transactions")
    columns, rest = path.read_text().split("    ),\n    currencies=")
    text = f"{columns}{column}    ),\n    currencies={rest}".replace(
        f"version={TRANSACTIONS.version},", f"version={VERSION},"
    )
    assert re.fullmatch(r"version=\d+,\n", version)
    path.write_text(text)
    return copy


@pytest.fixture
def environment(project: ProjectCopy, stack: Stack, database: Endpoint, tmp_path: Path) -> dict[str, str]:
    connection = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    return {
        **project.environment(stack.environment),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({**connection, "schema": database.schema}),
        "SLUICE_RAW_ROOT": f"file://{tmp_path}/raw",
    }


def test_a_column_is_added_and_filled_for_the_rows_that_are_loaded_by_two_commands(
    project: ProjectCopy, environment: dict[str, str], pipeline: Pipeline, rows: Rows
) -> None:
    (account,) = pipeline.enrol("one")
    kept, gone = (transaction(transaction_id=name, personal_finance_category=CONFIDENCE) for name in ("kept", "gone"))
    pipeline.load(pipeline.seal_pages((account, page(added=[kept, gone]))))
    removal = (account, page(removed=[{"transaction_id": "gone"}]))
    pipeline.load(pipeline.seal_pages(removal, run_id="later", at=LATER, moves="a>b"))
    commands = [shlex.split(line) for line in examples("Add a column", "sh", page=PAGE)[0].splitlines()]
    assert [command[0] for command in commands] == ["sluice", "sluice"]
    checked = project.python("-m", "etl", "migrate", "--check", environment=environment, check=False)
    assert checked.returncode == 1
    assert "changes: core.transactions: add column category_confidence text\n" in checked.stdout
    for _, *arguments in commands:
        project.python("-m", "etl", *arguments, environment=environment)
    project.python("-m", "etl", "migrate", "--check", environment=environment)
    assert rows(VALUES) == [("gone", None, LATER), ("kept", "LOW", FIRST)]
    assert rows("select e.transaction_id, e.category_confidence from core.effective_transactions as e") == [
        ("kept", "LOW")
    ]
    assert rows("select version, read, inserted, updated from etl.replays order by replay_id") == [
        (VERSION, 2, 0, 1),
        (VERSION, 1, 0, 0),
    ]
