"""The tests hold whatever the shipped catalogue declares: with one entity, one column and one notice more, too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.new_declarations.examples import examples
from tests.project_copy import ROOT, ProjectCopy

TESTS = (
    *("contract/test_catalog.py", "unit/declare/test_discovery.py", "unit/declare/test_notice.py"),
    *("unit/db/test_versions.py", "unit/notify/test_templates.py"),
)
"""Those that read the whole catalogue, and need neither Airflow nor a database."""


def grow(project: ProjectCopy) -> None:
    """Add the entity and the notice of CONTRIBUTING.md, by other names, and a column with another version."""
    (entity,) = examples("Add an entity in ten minutes", "python")
    entity = entity.replace("accounts_balance_get", "more_balances_get").replace('name="balances"', 'name="more"')
    project.declaration("more").write_text(entity)
    (notice,), (sql,) = (examples("Add a notice", language) for language in ("python", "sql"))
    project.sql("more", of="notices").write_text(sql)
    project.template("more", "").mkdir()
    for name, text in zip(("subject", "text", "html"), examples("Add a notice", "jinja"), strict=True):
        project.template("more", f"email.{name}.jinja").write_text(text)
    project.declaration("more", of="notices").write_text(notice.replace('name="login_stopped"', 'name="more"'))
    path = project.declaration("transactions")
    column = '        Column("check_number", ColumnType.TEXT, required=False),\n    ),\n    currencies='
    text, columns = re.subn(r"    \),\n    currencies=", column, path.read_text())
    text, versions = re.subn(r"version=(\d+)", lambda found: f"version={int(found[1]) + 1}", text)
    assert (columns, versions) == (1, 1)
    path.write_text(text)


def test_the_tests_hold_with_one_entity_one_column_and_one_notice_more(tmp_path: Path) -> None:
    project = ProjectCopy.make(tmp_path / "project")
    shutil.copytree(ROOT / "tests", project.folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CONTRIBUTING.md", "docs", "dev", "deploy"):
        (project.folder / name).symlink_to(ROOT / name)
    grow(project)
    command = (sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider")
    environment = {**project.environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, *(f"tests/{each}" for each in TESTS)],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
