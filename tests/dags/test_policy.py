"""Cluster policies: a Dag that breaks a rule is an import error that names the task and the fix."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from tests.integration.new_declarations.examples import examples
from tests.project_copy import ProjectCopy

_TEMPLATE = """
from datetime import datetime, timedelta

from airflow.sdk import DAG, task
from airflow.providers.standard.operators.empty import EmptyOperator
from sluice_retry_policy import ErrorTypeRetryPolicy

good = {{
    "execution_timeout": timedelta(minutes=5),
    "queue": "etl",
    "pool": "etl",
    "retries": 2,
    "retry_policy": ErrorTypeRetryPolicy(),
}}
with DAG("{name}", schedule=None, start_date=datetime(2026, 1, 1), {dag}):
    EmptyOperator(task_id="valid", **good)
    EmptyOperator(task_id="broken", **{{**good, {task}}})

    @task(**{{**good, {task}}})
    def mapped(number):
        return number

    mapped.expand(number=[1, 2])
"""
_QUIET = 'tags=["no-deadline"]'
_RULES = {
    "deadline": ("", "", "Dag deadline has no deadline, so no alert would say that it is late"),
    "timeout": (_QUIET, '"execution_timeout": None', "Task timeout.broken has no execution timeout"),
    "long": (
        _QUIET,
        '"execution_timeout": timedelta(days=1)',
        "has an execution timeout of 1 day, 0:00:00, above",
    ),
    "queue": (_QUIET, '"queue": "celery"', "is on the queue 'celery', which no worker serves; put it on urgent"),
    "pool": (_QUIET, '"pool": "default_pool"', "is in the pool 'default_pool', so its backlog would wait in the"),
    "endless": (_QUIET, '"retries": 1000', "has 1000 retries; allow at most 10"),
    "jitterless": (_QUIET, '"retry_policy": None', "would be retried at the same time as its siblings"),
}
_VALID = {
    "valid": (_QUIET, ""),
    "expiring": (_QUIET, '"queue": "urgent_notifications", "pool": "urgent_notifications"'),
}


@pytest.fixture(scope="module")
def parse_results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    """Return the import errors by Dag file, and the ids of all Dags."""
    copy = ProjectCopy.make(tmp_path_factory.mktemp("project") / "copy")
    environment = {
        **copy.environment(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{copy.folder}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
    }
    for name, (dag, task, *_) in {**_RULES, **_VALID}.items():
        text = textwrap.dedent(_TEMPLATE.format(name=name, dag=dag, task=task))
        Path(copy.folder / "dags" / f"{name}.py").write_text(text)
    (example,) = examples("Write a Dag by hand", "python", page="docs/dags.md", level="#")
    Path(copy.folder / "dags" / "example.py").write_text(example)
    for arguments in (("db", "migrate"), ("dag-processor", "--num-runs", "1")):
        copy.python("-m", "airflow", *arguments, environment=environment)

    def list_rows(command: str) -> list[dict[str, str]]:
        done = copy.python("-m", "airflow", "dags", command, "--output", "json", environment=environment, check=False)
        return list(json.loads(done.stdout.splitlines()[-1]))

    errors = {error["filepath"]: error["error"] for error in list_rows("list-import-errors")}
    return errors, [dag["dag_id"] for dag in list_rows("list")]


@pytest.mark.parametrize("name", list(_RULES))
def test_a_broken_rule_is_an_import_error_that_says_how_to_fix_it(
    parse_results: tuple[dict[str, str], list[str]], name: str
) -> None:
    errors, dags = parse_results
    assert _RULES[name][2] in errors[f"{name}.py"]
    assert name not in dags


def test_dags_that_keep_the_rules_as_the_one_in_the_documentation_are_not_affected(
    parse_results: tuple[dict[str, str], list[str]],
) -> None:
    errors, dags = parse_results
    assert set(errors) == {f"{name}.py" for name in _RULES}
    own = {"maintenance", "notify_now", *(f"etl_{entity.name}" for entity in ENTITIES)}
    assert {*_VALID, "currency_count", *own, *(f"notify_{notice.name}" for notice in NOTICES)} == set(dags)
