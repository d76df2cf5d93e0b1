"""The URL of the server of scratch databases is refused where it was written, before anything is read or run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from etl.conform.scratch import ServerUrlInvalid, parse_server
from etl.settings import Endpoint
from tests.unit.cli.processes import MODULE, run

REASON = "it is no URL of a Postgres; write postgresql://user:password@host:5432/database"


def test_the_url_of_a_server_has_its_parts_and_options() -> None:
    expected = Endpoint("db.example", 6543, "me", "p@ss", "bank", {"sslmode": "require"})
    assert parse_server("postgresql://me:p%40ss@db.example:6543/bank?sslmode=require") == expected
    assert parse_server("postgres://%2Frun%2Fpostgresql/bank").host == "/run/postgresql"


@pytest.mark.parametrize(
    "url",
    [
        "db.example",
        "mysql://me:secret@db.example/bank",
        "postgresql://",
        "postgresql:///bank",
        "postgresql://me:secret@db.example:port/bank",
        '{"host": "db.example"}',
    ],
)
def test_what_is_no_url_of_a_postgres_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ServerUrlInvalid) as refused:
        parse_server(url)
    assert str(refused.value) == REASON


def test_the_command_and_the_plugin_refuse_it_as_a_mistake_of_the_caller(tmp_path: Path) -> None:
    command = run(*MODULE, "conform", "plaid", "--database", "db.example", environment={**os.environ, "COLUMNS": "200"})
    assert (command.returncode, command.stdout) == (2, "")
    assert f"Invalid value for --database: {REASON}" in command.stderr
    plugin = subprocess.run(
        (sys.executable, "-m", "pytest", "-p", "etl.conform.pytest_plugin", "--conform-database", "db.example"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (plugin.returncode, plugin.stdout) == (pytest.ExitCode.USAGE_ERROR, "")
    assert plugin.stderr == f"ERROR: --conform-database: {REASON}\n\n"
