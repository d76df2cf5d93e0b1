"""A catalogue of one's own, in a folder, for tests that run Sluice on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from etl import catalog_folder
from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class OwnCatalog:
    """A catalogue in a folder."""

    folder: Path

    @classmethod
    def init(cls, folder: Path) -> Self:
        """Let `sluice init` write it."""
        created = cls(folder)
        created.python("-m", "etl", "init", str(folder), environment=os.environ)
        return created

    def write(self, path: str, text: str) -> Path:
        """Write a file, and return its path."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def reexport_entity(self, name: str) -> Path:
        """Declare a shipped entity, and return the file."""
        return self.write(f"entities/{name}.py", f"from etl.catalog.entities.{name} import {name.upper()}\n")

    def reexport_notice(self, name: str) -> Path:
        """Declare a shipped notice, and return the file."""
        text = f"from etl.catalog.notices.{name}.notice import {name.upper()}\n"
        return self.write(f"notices/{name}/notice.py", text)

    def reexport_all(self) -> Self:
        """Declare everything that is shipped."""
        for entity in ENTITIES:
            self.reexport_entity(entity.name)
        for notice in NOTICES:
            self.reexport_notice(notice.name)
        return self

    def environment(self, caller: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return an environment in which this catalogue is used."""
        return {**caller, "PYTHONPATH": f"{ROOT / 'include'}:{ROOT}", catalog_folder.VARIABLE: str(self.folder)}

    def python(
        self, *arguments: str, environment: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with this catalogue, or in a given environment."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment or self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done
