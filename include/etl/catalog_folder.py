"""Where the catalogue is: in the folder that `SLUICE_CATALOG` names, or in `include/etl/catalog`. Nothing else knows.

An own folder has the layout of the shipped one, and its SQL in `sql/entities` and `sql/notices`. It is the package
`catalog`, whatever its name is. Only its entities are synced, and only its notices are sent, so that an upgrade of
Sluice starts nothing. Its `queues.py`, `channels.py` and `retention.py` take the place of the shipped ones, and are
imported by the same names, such as `etl.catalog.queues`; each of them may be missing.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Literal, TypeAlias

from etl.errors import DeclarationError

Kind: TypeAlias = Literal["entities", "notices"]

VARIABLE = "SLUICE_CATALOG"
SHIPPED = Path(__file__).parent / "catalog"
SQL_ROOT = Path(__file__).parents[1] / "sql"
PACKAGE, SHIPPED_PACKAGE = "catalog", "etl.catalog"

_KINDS: tuple[Kind, ...] = ("entities", "notices")
_SHARED = ("hooks", "providers")
_REPLACEABLE = ("queues", "channels", "retention")


@dataclass(frozen=True)
class CatalogFolder:
    """The folder of a catalogue.

    Parameters
    ----------
    folder
        Its path.
    """

    folder: Path = SHIPPED

    @property
    def is_shipped(self) -> bool:
        """Whether it is the shipped catalogue."""
        return self.folder == SHIPPED

    @property
    def package(self) -> str:
        """Name of its package."""
        return SHIPPED_PACKAGE if self.is_shipped else PACKAGE

    @property
    def problem(self) -> str | None:
        """Why it cannot be used, and what to do; None if it can."""
        if not self.folder.is_absolute():
            return f"{self.folder} is relative, and every process has its own folder; write {self.folder.absolute()}"
        # Else it would seem that nothing is declared in a folder that may not be read.
        for folder in (self.folder, *(self.folder / name for name in (*_KINDS, *_SHARED, "sql"))):
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):  # noqa: PTH112 - `is_dir` may raise
                return f"{folder} cannot be read by user {os.geteuid()}; let it, as by `chmod -R a+rX` of the catalogue"
        if found := self._find_problem():
            remedy = "name a folder that `sluice init DIR` wrote, or unset it for the shipped catalogue"
            return f"{self.folder} {found}; {remedy}"
        return None

    def require_usable(self) -> None:
        """Refuse a folder that cannot be used.

        Raises
        ------
        DeclarationError
            With the setting, what was found, and what to do.
        """
        if problem := self.problem:
            raise DeclarationError(f"{VARIABLE}: {problem}")

    @property
    def shared_files(self) -> Mapping[str, Path]:
        """Files that its declarations may import, by the names of their modules, such as `catalog.providers.mybank`."""
        own = (path for folder in _SHARED for path in sorted((self.folder / folder).glob("[!.]*.py")))
        return {f"{SHIPPED_PACKAGE}.{name}": self.file(f"{name}.py") for name in _REPLACEABLE} | {
            f"{self.package}.{path.parent.name}.{path.stem}": path for path in own if path.name != "__init__.py"
        }

    @property
    def files(self) -> Sequence[Path]:
        """All its Python files: those that are shared, and the declarations."""
        declarations = (path for kind in _KINDS for path in sorted((self.folder / kind).rglob("*.py")))
        return (*self.shared_files.values(), *declarations)

    def declaration(self, kind: Kind, name: str) -> Path:
        """Return the file that declares an entity or a notice."""
        return self.folder / kind / (f"{name}/notice.py" if kind == "notices" else f"{name}.py")

    def file(self, name: str) -> Path:
        """Return a file, such as `queues.py`: the shipped one if this folder has none, or may not be read."""
        own = self.folder / name
        return own if os.path.isfile(own) else SHIPPED / name  # noqa: PTH113 - `is_file` may raise

    def sql(self, kind: Kind, name: str) -> Path:
        """Return the file with the statements of an entity or a notice, which may not exist.

        It is the shipped one if this folder has none, and its declaration extends the shipped one.
        """
        own, shipped = (folder / f"{name}.sql" for folder in (self.sql_folder(kind), SQL_ROOT / kind))
        has_own = own.exists() or any(own.parent.glob(f"{name}.*.sql"))
        return shipped if not has_own and self.extends_shipped(kind, name) else own

    def sql_folder(self, kind: Kind) -> Path:
        """Return the folder of the SQL files of this catalogue itself, which may not exist."""
        return (SQL_ROOT if self.is_shipped else self.folder / "sql") / kind

    def template_folders(self, notice: str) -> Sequence[Path]:
        """Return the folders of a notice's templates: its own, and those of templates that notices share."""
        own, shipped = self.folder / "notices", SHIPPED / "notices"
        return tuple(dict.fromkeys((own / notice, *self.extended_templates(notice), own, shipped)))

    def extended_templates(self, notice: str) -> Sequence[Path]:
        """Return the folder of the shipped templates that a notice uses where it has none; empty if it uses none."""
        return (SHIPPED / "notices" / notice,) if self.extends_shipped("notices", notice) else ()

    def extends_shipped(self, kind: Kind, name: str) -> bool:
        """Return whether a declaration imports the shipped one of its name, and so uses its SQL and its templates."""
        try:
            tree = ast.parse(self.declaration(kind, name).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return False
        shipped = f"{SHIPPED_PACKAGE}.{kind}.{name}"
        return any(f"{module}.".startswith(f"{shipped}.") for module in _imported_modules(tree))

    def _find_problem(self) -> str | None:
        try:
            names = {path.name for path in self.folder.iterdir()}
        except FileNotFoundError:
            return "does not exist"
        except NotADirectoryError:
            return "is not a folder"
        except OSError as error:
            return f"cannot be read by user {os.geteuid()} ({error.strerror})"
        if not names:
            return "is empty"
        return None if names.intersection(_KINDS) else "has neither a folder `entities` nor a folder `notices`"


def find(environment: Mapping[str, str] = os.environ) -> CatalogFolder:
    """Return the catalogue in use."""
    named = environment.get(VARIABLE, "").strip()
    return CatalogFolder(Path(named)) if named else CatalogFolder()


def let_own_files_replace_shipped_ones() -> None:
    """Let the imports of `queues`, `channels` and `retention` from `etl.catalog` find those of an own folder."""
    sys.meta_path.insert(0, _OwnFiles())


class _OwnFiles(MetaPathFinder):
    """Finds the files of an own folder that take the place of shipped ones."""

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """Return where such a module is; None for every other."""
        package, name = fullname.rpartition(".")[::2]
        if package != SHIPPED_PACKAGE or name not in _REPLACEABLE:
            return None
        return spec_from_file_location(fullname, find().file(f"{name}.py"))


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    """Yield the names that may be imported modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
