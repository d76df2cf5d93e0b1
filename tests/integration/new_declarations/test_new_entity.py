"""An entity is added as CONTRIBUTING.md says, to a copy of the project: one declaration, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.settings import Endpoint
from tests.integration.new_declarations.examples import examples
from tests.integration.new_declarations.sync import USERS
from tests.project_copy import ProjectCopy

Rows = Callable[..., list[tuple[object, ...]]]
NOTIFY = ["notify_now", *(f"notify_{notice.name}" for notice in NOTICES)]
DAGS = sorted(["maintenance", *NOTIFY, *(f"etl_{entity.name}" for entity in ENTITIES)])
_BAG = """
import json
from airflow.dag_processing.dagbag import DagBag

bag = DagBag()
print(json.dumps({"dags": sorted(bag.dags), "errors": bag.import_errors}))
"""


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    copy = ProjectCopy.make(tmp_path / "project")
    (declaration,) = examples("Add an entity in ten minutes", "python")
    copy.declaration("balances").write_text(declaration)
    return copy


@pytest.fixture
def environment(project: ProjectCopy, stack: Stack, database: Endpoint, tmp_path: Path) -> dict[str, str]:
    connection = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    return {
        **project.environment(stack.environment),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({**connection, "schema": database.schema}),
        "SLUICE_RAW_ROOT": f"file://{tmp_path}/raw",
    }


def bag(project: ProjectCopy, environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    printed = json.loads(project.python("-c", _BAG, environment=environment).stdout.splitlines()[-1])
    return printed["dags"], printed["errors"]


def test_one_file_makes_an_entity_with_a_table_a_dag_and_rows(
    project: ProjectCopy, environment: dict[str, str], rows: Rows
) -> None:
    migrated = project.python("-m", "etl", "migrate", environment=environment)
    assert migrated.stderr == ""
    dags, errors = bag(project, environment)
    assert (dags, errors) == (sorted([*DAGS, "etl_balances"]), {})
    done = project.python("-m", "tests.integration.new_declarations.sync", "balances", environment=environment)
    counts = json.loads(done.stdout)
    assert counts["inserted"] == counts["read"] >= USERS
    assert rows("select count(*), count(distinct provider_account_id) from core.balances where amount is not null") == [
        (counts["inserted"], USERS)
    ]


def test_a_wrong_declaration_is_skipped_and_the_other_entities_load(
    project: ProjectCopy, environment: dict[str, str], rows: Rows
) -> None:
    path = project.declaration("balances")
    path.write_text(path.read_text().replace('schedule="0 6 * * *"', 'schedule="6 am"'))
    fault = "include/etl/catalog/entities/balances.py:12: entity balances: schedule is '6 am', which is no cron expr"
    migrated = project.python("-m", "etl", "migrate", environment=environment)
    assert migrated.stderr.startswith(f"warning: {fault}")
    assert rows("select to_regclass('core.balances')::text, to_regclass('core.accounts')::text") == [
        (None, "core.accounts")
    ]
    dags, errors = bag(project, environment)
    assert dags == DAGS
    ((file, error),) = errors.items()
    assert Path(file).name == "declarations.py"
    assert fault in error
    done = project.python("-m", "tests.integration.new_declarations.sync", "accounts", environment=environment)
    assert json.loads(done.stdout)["inserted"] >= USERS
