"""Rules of the house: the Dag that breaks one is an import error that names the task and the remedy."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
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
    EmptyOperator(task_id="sound", **good)
    EmptyOperator(task_id="broken", **{{**good, {task}}})

    @task(**{{**good, {task}}})
    def mapped(number):
        return number

    mapped.expand(number=[1, 2])
"""
_QUIET = 'tags=["no-deadline"]'
_RULES = {
    "deadline": ("", "", "Dag deadline has no deadline: nobody would hear that it is late"),
    "timeout": (_QUIET, '"execution_timeout": None', "Task timeout.broken has no execution timeout"),
    "long": (_QUIET, '"execution_timeout": timedelta(days=1)', "may run for 1 day, 0:00:00, and a task must end"),
    "queue": (_QUIET, '"queue": "celery"', "is on the queue 'celery', which no worker serves; put it on urgent"),
    "pool": (_QUIET, '"pool": "default_pool"', "is in the pool 'default_pool', so that its backlog would age"),
    "endless": (_QUIET, '"retries": 1000', "would be tried again 1000 times; allow at most 10"),
    "jitterless": (_QUIET, '"retry_policy": None', "would be tried again together with its siblings"),
}
_SOUND = {
    "sound": (_QUIET, ""),
    "expiring": (_QUIET, '"queue": "urgent_notifications", "pool": "urgent_notifications"'),
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], list[str]]:
    """Return the import errors of Airflow by Dag file, and the Dags that it knows."""
    copy = ProjectCopy.make(tmp_path_factory.mktemp("project") / "copy")
    environment = {
        **copy.environment(),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{copy.folder}/airflow.db",
        "AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_INTERVAL": "0",
    }
    for name, (dag, task, *_) in {**_RULES, **_SOUND}.items():
        text = textwrap.dedent(_TEMPLATE.format(name=name, dag=dag, task=task))
        Path(copy.folder / "dags" / f"{name}.py").write_text(text)
    for arguments in (("db", "migrate"), ("dag-processor", "--num-runs", "1")):
        copy.python("-m", "airflow", *arguments, environment=environment)

    def printed(command: str) -> list[dict[str, str]]:
        done = copy.python("-m", "airflow", "dags", command, "--output", "json", environment=environment, check=False)
        return list(json.loads(done.stdout.splitlines()[-1]))

    errors = {error["filepath"]: error["error"] for error in printed("list-import-errors")}
    return errors, [dag["dag_id"] for dag in printed("list")]


@pytest.mark.parametrize("name", list(_RULES))
def test_a_broken_rule_is_an_import_error_that_says_how_to_mend_it(
    listed: tuple[dict[str, str], list[str]], name: str
) -> None:
    errors, dags = listed
    assert _RULES[name][2] in errors[f"{name}.py"]
    assert name not in dags


def test_dags_that_keep_the_rules_are_not_affected(listed: tuple[dict[str, str], list[str]]) -> None:
    errors, dags = listed
    assert set(errors) == {f"{name}.py" for name in _RULES}
    own = {"maintenance", "notify_now", *(f"etl_{entity.name}" for entity in ENTITIES)}
    assert {*_SOUND, *own, *(f"notify_{notice.name}" for notice in NOTICES)} == set(dags)
