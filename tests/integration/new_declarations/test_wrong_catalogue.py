"""A wrong file of the catalogue: the command line works, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev.stack.stack import Stack
from etl import catalog_folder
from etl.catalog.entities import ENTITIES
from etl.db.connection import Connection
from etl.settings import Endpoint
from tests.integration.notify.notice_harness import NoticeHarness, enrol
from tests.project_copy import ProjectCopy


@pytest.fixture
def project(tmp_path: Path) -> ProjectCopy:
    return ProjectCopy.make(tmp_path / "project")


@pytest.fixture
def environment(project: ProjectCopy, stack: Stack, database: Endpoint) -> dict[str, str]:
    connection = json.loads(stack.environment["AIRFLOW_CONN_WAREHOUSE"])
    return {
        **project.environment(stack.environment),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({**connection, "schema": database.schema}),
    }


@pytest.mark.parametrize("file", ["queues.py", "providers/plaid.py"])
def test_status_and_pause_work_and_say_what_is_wrong(
    project: ProjectCopy, environment: dict[str, str], db: Connection, post: NoticeHarness, file: str
) -> None:
    enrol(db, 1)
    run_id = post.plan(period="2026-10").run_id
    path = project.folder / "include" / "etl" / "catalog" / file
    path.write_text(f"{path.read_text()}\nraise ValueError('wrong')\n")
    fault, line = "ValueError: wrong; fix this line", 6 if file == "queues.py" else 5
    shown = project.python("-m", "etl", "status", environment=environment)
    importing = sorted(entity.name for entity in ENTITIES if file == "queues.py" or entity.provider.name == "plaid")
    assert f"Not synced, since the declaration is wrong: {', '.join(importing)}" in shown.stdout
    assert (
        f"warning: include/etl/catalog/entities/accounts.py:{line}: {fault} (raised at include/etl/catalog/{file}:"
        in shown.stderr
    )
    printed = project.python("-m", "etl", "status", "--json", environment=environment)
    assert [each["name"] for each in json.loads(printed.stdout)["faults"]] == importing
    paused = project.python("-m", "etl", "notify", "pause", str(run_id), environment=environment)
    assert paused.stdout.endswith("2026-10: paused\n")
    linked = project.python(
        *("-m", "etl", "link", "--public-token", "x", "--user", "4711"), environment=environment, check=False
    )
    assert linked.returncode == 1
    assert linked.stderr.splitlines()[-1].startswith(f"error: include/etl/catalog/{file}:")
    assert linked.stderr.endswith(f"{fault}\n")


def test_status_and_pause_work_without_the_folder_of_the_catalogue(
    project: ProjectCopy, environment: dict[str, str], db: Connection, post: NoticeHarness, tmp_path: Path
) -> None:
    enrol(db, 1)
    run_id = post.plan(period="2026-10").run_id
    environment[catalog_folder.VARIABLE] = f"{tmp_path}/gone"
    problem = f"SLUICE_CATALOG: {tmp_path}/gone does not exist; name a folder that `sluice init DIR` wrote"
    shown = project.python("-m", "etl", "status", environment=environment)
    assert shown.stderr.startswith(f"warning: {problem}")
    assert "Not synced, since the declaration is wrong: SLUICE_CATALOG" in shown.stdout
    paused = project.python("-m", "etl", "notify", "pause", str(run_id), environment=environment)
    assert paused.stdout.endswith("2026-10: paused\n")
    for command in (("migrate",), ("link", "--public-token", "x", "--user", "4711"), ("purge",)):
        refused = project.python("-m", "etl", *command, environment=environment, check=False)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith("error: ")
        assert problem in refused.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("queues.py", ("queues",)),
        ("retention.py", ("purge", "--dry-run")),
        ("channels.py", ("notify", "suppress", "joe@example.org")),
    ],
)
def test_a_command_that_needs_a_wrong_file_says_so_in_one_sentence(
    project: ProjectCopy, environment: dict[str, str], file: str, command: tuple[str, ...]
) -> None:
    path = project.folder / "include" / "etl" / "catalog" / file
    path.write_text("import sys\n\nsys.exit(0)\n")
    done = project.python("-m", "etl", *command, environment=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: include/etl/catalog/{file}:3: SystemExit: 0; remove the exit"


def test_status_shows_an_entity_that_has_no_table_yet(
    project: ProjectCopy, environment: dict[str, str], db: Connection
) -> None:
    db.execute("drop table core.merchants")
    shown = project.python("-m", "etl", "status", environment=environment)
    assert "never loaded" in next(line for line in shown.stdout.splitlines() if "merchants" in line)
