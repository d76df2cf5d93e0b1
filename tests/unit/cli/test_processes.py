"""What a shell sees of the command line: versions, exit codes, closed pipes and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from tests.project_copy import ROOT, ProjectCopy
from tests.unit.cli.processes import BOTH_COMMANDS, INSTALLED, MODULE, run, run_into_closed_pipe

HEAVY = {
    *("aiohttp", "airflow", "celery", "cryptography", "email", "importlib.metadata", "jinja2", "kombu", "msgspec"),
    *("pandas", "psycopg", "pyarrow", "pywebpush", "redis", "requests", "rich", "upath"),
}
"""Packages of which each takes longer to import than the commands themselves."""

SLOW_DECLARATION = '''"""An entity whose import takes long."""

import sys
import time

print("loading", file=sys.stderr, flush=True)
time.sleep(60)
'''


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@BOTH_COMMANDS
def test_the_version_is_that_of_the_project(command: tuple[str, ...]) -> None:
    result = run(*command, "--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"sluice {version()}\n", "")


def test_the_version_is_unknown_where_sluice_is_not_installed(tmp_path: Path) -> None:
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "sluice" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'include'}:{tmp_path}"}
    result = run(sys.executable, "-S", "-m", "etl", "--version", environment=environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "error: Sluice runs from a folder and is not installed as a package, so its version is not known; "
        "`make install` installs it.\n"
    )
    assert run(sys.executable, "-S", "-m", "etl", "queues", environment=environment).returncode == 0


def test_the_installed_command_needs_no_python_path_and_finds_every_declaration(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = run(*INSTALLED, "describe", environment=environment, folder=tmp_path)
    assert result.stderr == ""
    described = json.loads(result.stdout)
    assert [entity["name"] for entity in described["entities"]] == [entity.name for entity in ENTITIES]
    assert [notice["name"] for notice in described["notices"]] == [notice.name for notice in NOTICES]


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    code = "import json, sys, etl.cli.app; print(json.dumps(sorted(sys.modules)))"
    imported = set(json.loads(run(sys.executable, "-c", code).stdout))
    assert imported & HEAVY == set()


@BOTH_COMMANDS
def test_a_usage_error_has_exit_code_2_and_shows_the_usage_on_the_error_stream(command: tuple[str, ...]) -> None:
    result = run(*command, "plna")
    assert (result.returncode, result.stdout) == (2, "")
    assert "Usage: sluice [OPTIONS] COMMAND" in result.stderr
    assert "plan" in result.stderr


@BOTH_COMMANDS
def test_an_expected_error_is_one_sentence_and_exit_code_1(command: tuple[str, ...]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    result = run(*command, "migrate", environment=environment)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: AIRFLOW_CONN_WAREHOUSE is not set; ")
    assert result.stderr.count("\n") == 1


def test_an_argument_that_is_not_utf_8_is_refused() -> None:
    result = run(*MODULE, "plan", "\udcff")
    assert (result.returncode, result.stderr) == (1, "error: an argument is not UTF-8; nothing was done.\n")


@pytest.mark.parametrize("arguments", [("queues",), ("describe",), ("--help",), ("--version",)], ids=" ".join)
@BOTH_COMMANDS
def test_a_closed_pipe_ends_a_command_without_a_traceback(command: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    result = run_into_closed_pipe((*command, *arguments))
    assert (result.returncode, result.stderr) == (1, "")


def test_a_closed_pipe_ends_a_completion_without_a_traceback() -> None:
    environment = {**os.environ, "_SLUICE_COMPLETE": "complete_bash", "COMP_WORDS": "sluice plan ", "COMP_CWORD": "2"}
    result = run_into_closed_pipe(INSTALLED, environment)
    assert (result.returncode, result.stderr) == (1, "")


def test_ctrl_c_ends_a_command_without_a_traceback_while_its_modules_are_loading(tmp_path: Path) -> None:
    project = ProjectCopy.make(tmp_path / "project")
    project.declaration("slow").write_text(SLOW_DECLARATION)
    with subprocess.Popen(
        [*MODULE, "queues"], env=project.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "")
