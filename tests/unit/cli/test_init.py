"""`sluice init`: what it writes is declared without a fault, and nothing that exists is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.own_catalog import OwnCatalog
from tests.unit.cli.processes import MODULE, run


def test_what_it_writes_is_declared_without_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    written = run(*MODULE, "init", "ours", folder=tmp_path, environment=OwnCatalog(tmp_path).environment())
    assert f"export SLUICE_CATALOG={tmp_path}/ours\n" in written.stdout
    assert "python -m dev.stack up && . .local/env" in written.stdout
    described = OwnCatalog(tmp_path / "ours").python("-m", "etl", "describe")
    assert described.stderr == ""
    checked = OwnCatalog(tmp_path / "ours").python("-m", "etl", "check")
    assert checked.stdout == "No faults. Entities: 1, notices: 1.\n"
    document = json.loads(described.stdout)
    names = [each["name"] for kind in ("entities", "notices") for each in document[kind]]
    assert names == ["examplebank_transactions", "examplebank_payments"]
    assert f"wrote {tmp_path}/ours/providers/examplebank.py\n" in written.stdout


@pytest.mark.parametrize(
    ("target", "reason"),
    [(".", "is not empty"), ("notes.txt", "is a file, or lies below one"), ("notes.txt/x", "is a file, or lies below")],
)
def test_nothing_that_exists_is_overwritten(tmp_path: Path, target: str, reason: str) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused = run(*MODULE, "init", target, folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {(tmp_path / target).absolute()} {reason}")
    assert refused.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
