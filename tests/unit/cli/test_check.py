"""`sluice check` without a database: it finds all faults at once, each with its file and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from tests.own_catalog import OwnCatalog
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
    declared = f"Entities: {len(ENTITIES)}, notices: {len(NOTICES)}."
    assert (done.stdout, done.stderr, done.returncode) == (f"No faults. {declared}\n", "", 0)


def test_all_faults_are_found_at_once_without_a_database(project: ProjectCopy) -> None:
    catalog = project.folder / "include" / "etl" / "catalog"
    edit(catalog / "retention.py", "timedelta(days=14)", "14")
    edit(project.declaration("accounts"), "chunk_size=200", "chunk_size=0")
    edit(project.declaration("merchants"), "queue=ETL", "queue=replace(ETL, slots=2)")
    edit(project.declaration("merchants"), "from datetime", "from dataclasses import replace\nfrom datetime")
    edit(project.sql("transactions"), "-- name: table", "-- name: tabel")
    edit(project.sql("fraud_alert", of="notices"), "%(factor)s", "%(factr)s")
    edit(project.template("low_balance", "desktop.title.jinja"), "{{ balance ", "{{ acount ")
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


def test_faults_of_an_own_folder_name_its_files_and_unused_shipped_ones_are_none(
    tmp_path: Path,
) -> None:
    own = OwnCatalog.init(tmp_path / "ours")
    own.reexport_entity("accounts")
    own.reexport_notice("low_balance")
    own.write("retention.py", "RETENTION = (\n")
    own.write("providers/other.py", 'A = {\n    "x": 1,\n    "x": 2,\n}\n')
    own.write("sql/entities/acounts.sql", "-- name: table\nselect 1;\n")
    own.write("notices/low_balance/email.subject.jinja", "{{ acount }}")
    entity = own.folder / "entities" / "examplebank_transactions.py"
    edit(entity, "queue=ETL", "queue=replace(ETL, slots=2)")
    edit(entity, "from datetime", "from dataclasses import replace\nfrom datetime")
    edit(own.folder / "sql" / "notices" / "examplebank_payments.sql", "%(days)s", "%(dys)s")
    done = own.python("-m", "etl", "check", check=False)
    *faults, count = (line.removeprefix(f"{own.folder}/") for line in done.stdout.splitlines())
    assert [fault.partition(": ")[0] for fault in faults] == [
        "retention.py:1",
        "providers/other.py:3",
        "entities/examplebank_transactions.py",
        "sql/entities/acounts.sql",
        "sql/notices/examplebank_payments.sql:25",
        "sql/notices/examplebank_payments.sql:25",
        "notices/low_balance/email.subject.jinja:1",
    ]
    assert (count, done.stderr, done.returncode) == ("Faults: 7.", "", 1)
