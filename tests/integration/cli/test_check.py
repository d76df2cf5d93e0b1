"""Statements that do not fit the schema: `sluice check --database` fails, and a start of the stack only warns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from dev.stack import prepare_databases
from dev.stack.home import Home
from tests.project_copy import ProjectCopy


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    """Return a copy of the project in which one notice reads a column that does not exist."""
    copy = ProjectCopy.make(tmp_path / "project")
    file = copy.sql("low_balance", of="notices")
    file.write_text(file.read_text().replace("a.type = 'depository'", "a.kind = 'depository'"))
    return copy


def test_a_statement_that_does_not_fit_fails_the_check_and_only_warns_at_a_start(
    project: ProjectCopy, environment: Mapping[str, str], tmp_path: Path
) -> None:
    own = project.environment(environment)
    checked = project.python("-m", "etl", "check", "--database", "--json", environment=own, check=False)
    document = json.loads(checked.stdout)
    assert checked.returncode == 1
    assert document["unchecked"] == []
    assert [fault["name"] for fault in document["faults"]] == ["low_balance", "low_balance"]
    assert all("column a.kind does not exist" in fault["reason"] for fault in document["faults"])

    migrated = project.python("-m", "etl", "migrate", environment=own)
    assert migrated.stdout == "The schema is up to date.\n"
    warnings = migrated.stderr.splitlines()
    assert [line.partition(":")[0] for line in warnings] == ["warning", "warning"]
    assert prepare_databases.prepare_warehouse(Home(tmp_path), environment=own) == warnings
