"""`sluice check` without a database: it finds all faults at once, each with its file and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.project_copy import ProjectCopy


def check(project: ProjectCopy, *arguments: str) -> CompletedProcess[str]:
    """Run the command in an environment without connections."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN")}
    command = ("-m", "etl", "check", *arguments)
    return project.python(*command, environment=project.environment(environment), check=False)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    return ProjectCopy.make(tmp_path / "project")


def test_a_correct_catalogue_has_no_fault(project: ProjectCopy) -> None:
    done = check(project)
    assert (done.stdout, done.stderr, done.returncode) == ("No faults: 3 entities and 3 notices.\n", "", 0)


def test_all_faults_are_found_at_once_without_a_database(project: ProjectCopy) -> None:
    catalog = project.folder / "include" / "etl" / "catalog"
    edit(catalog / "retention.py", "timedelta(days=14)", "14")
    edit(project.declaration("accounts"), "chunk_size=200", "chunk_size=0")
    edit(project.declaration("merchants"), "queue=ETL", "queue=replace(ETL, slots=2)")
    edit(project.declaration("merchants"), "from datetime", "from dataclasses import replace\nfrom datetime")
    edit(project.sql("transactions"), "-- name: table", "-- name: tabel")
    edit(project.sql("fraud_alert", of="notices"), "%(factor)s", "%(factr)s")
    edit(project.template("low_balance", "desktop.title.jinja"), "account", "acount")
    done = check(project, "--json")
    faults = json.loads(done.stdout)["faults"]
    assert done.returncode == 1
    assert done.stderr == ""
    assert [fault["location"].removeprefix("include/").partition(":")[0] for fault in faults] == [
        "etl/catalog/retention.py",
        "etl/catalog/entities/accounts.py",
        "etl/catalog/entities/merchants.py",
        "sql/entities/transactions.sql",
        "sql/notices/fraud_alert.sql",
        "sql/notices/fraud_alert.sql",
        "etl/catalog/notices/low_balance/desktop.title.jinja",
    ]
    assert check(project).stdout.endswith("Faults: 7.\n")


def test_a_wrong_provider_is_one_fault_however_many_entities_import_it(project: ProjectCopy) -> None:
    edit(project.declaration("plaid", of="providers"), "calls=50,", "calls=0,")
    done = check(project)
    (fault, count) = done.stdout.splitlines()
    assert fault.startswith("include/etl/catalog/providers/plaid.py:")
    assert (count, done.returncode) == ("Faults: 1.", 1)
