"""A copy of the deployed folders, for tests that add files to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FOLDERS = ("dags", "plugins", "include")


@dataclass(frozen=True)
class ProjectCopy:
    """A copy of the project in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> ProjectCopy:
        """Copy the project's folders into one that does not exist yet."""
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(folder)

    def declaration(self, name: str, *, of: str = "entities") -> Path:
        """Return the path of the declaration of an entity, or a notice."""
        relative_path = Path(name, "notice.py") if of == "notices" else Path(f"{name}.py")
        return self.folder / "include" / "etl" / "catalog" / of / relative_path

    def sql(self, name: str, *, of: str = "entities") -> Path:
        """Return the path of its statements."""
        return self.folder / "include" / "sql" / of / f"{name}.sql"

    def template(self, notice: str, name: str) -> Path:
        """Return the path of a template of a notice."""
        return self.folder / "include" / "etl" / "catalog" / "notices" / notice / name

    def environment(self, caller: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment in which Python and Airflow find the copy first, and the tests after it."""
        home = self.folder / "airflow"
        paths = (self.folder / "include", self.folder / "plugins", ROOT)
        return {
            **caller,
            "PYTHONPATH": ":".join(map(str, paths)),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.folder / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }

    def python(
        self, *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python on the copy."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment or self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done
