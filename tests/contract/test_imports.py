"""The arrows between the rooms of the project, drawn from its code."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

GROUND = {"db", "storage", "clients", "declare", "settings", "json_text", "chunking"}
"""What both wings, `sync` and `notify`, stand on."""

PURE = {
    *("alerts.alert", "alerts.blockers", "alerts.eta", "alerts.formatting", "alerts.mail"),
    *("chunking", "clients.mail", "declare", "json_text", "notify.templates", "notify.unsubscribe_links"),
    "sync.records",
}
"""No clock, network or database."""

ALLOWED = {
    "dags": {"plugins", "catalog"},
    "plugins": {"plugins", "alerts", "maintenance", "sync", "notify", "catalog", *GROUND},
    "cli": {"cli", "maintenance", "sync", "notify", "catalog", *GROUND},
    "alerts": {"alerts", "sync", "notify", *GROUND},
    "alerts.store": {"alerts.store", "alerts.alert", "alerts.blockers", "clients.mail", "db", "declare"},
    "maintenance": {"maintenance", "sync", "notify", *GROUND},
    "maintenance.store": {"maintenance.store", "sync.store", "notify.store", "db", "declare"},
    "sync": {"sync", *GROUND},
    "sync.provider": {"sync.provider", "sync.records", "clients", "declare", "settings", "json_text", "chunking"},
    "sync.records": {"sync.records", "declare", "json_text"},
    "sync.store": {"sync.store", "sync.records", "db", "storage", "declare", "json_text", "chunking"},
    "notify": {"notify", *GROUND},
    "notify.channels": {"notify.channels", "clients", "declare", "settings", "json_text"},
    "notify.store": {"notify.store", "db", "declare"},
    "catalog": {"catalog", "declare"},
    "catalog.hooks": set(),
    "db": {"db", "declare.sql_file", "settings"},
    "storage": {"storage"},
    "clients": {"clients", "settings", "json_text"},
    "declare": {"declare"},
    "settings": set(),
    "chunking": set(),
    "json_text": set(),
    "errors": set(),
    "alerts.alert": {"alerts.formatting"},
    "alerts.blockers": {"alerts.formatting"},
    "alerts.eta": {"alerts.alert", "alerts.formatting"},
    "alerts.formatting": set(),
    "alerts.mail": {"alerts.alert", "alerts.formatting", "clients.mail"},
    "clients.mail": set(),
    "notify.templates": {"declare"},
    "notify.unsubscribe_links": {"declare", "settings"},
    "deploy": {"deploy", "cli", "catalog", "declare"},
    "dev": {"dev", "deploy", "cli", "sync", "notify", "catalog", *GROUND},
    "dev.audit": set(),
    "benchmarks": {"benchmarks", "plugins", "dev", "sync", "notify", "catalog", *GROUND},
    "tests": {
        *("tests", "benchmarks", "deploy", "dev", "dags", "plugins"),
        *("cli", "alerts", "maintenance", "sync", "notify", "catalog", *GROUND),
    },
}
"""Room → rooms that it may import, with what lies in them; every room may import `errors`.

Rooms of `include/etl` are written without `etl.`. A file belongs to the innermost room that names it.
"""

MAX_FILES = 15
"""In a folder of `include/`; beyond it, names are looked for rather than seen."""

MAX_LINES = 400
"""Of a file; beyond it, there are two concepts in one file."""

IMPURE = {
    *("aiohttp", "aiosmtplib", "asyncio", "http", "os", "psycopg", "redis", "requests", "socket", "sqlalchemy"),
    *("ssl", "subprocess", "time", "upath", "urllib.request"),
}
"""Modules by which a clock, the network or a database is reached."""

PLUGINS = {path.stem for path in (ROOT / "plugins").glob("*.py")}


def sources() -> list[Path]:
    folders = ("dags", "plugins", "include/etl", "deploy", "dev", "benchmarks", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the dotted name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] in ("include", "plugins") else parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sources()}


def place_of(module: str) -> str | None:
    """Return a module's place in the house, None if it is somebody else's; `etl.sync.plan` is at `sync.plan`."""
    top, _, below = module.partition(".")
    if top == "etl":
        return below if below not in ("", "__main__") else "cli"
    if top in PLUGINS:
        return f"plugins.{top}"
    return module if top in ALLOWED else None


def is_in(place: str, room: str) -> bool:
    return place == room or place.startswith(f"{room}.")


def room_of(place: str) -> str:
    return max((room for room in ALLOWED if is_in(place, room)), key=len)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of each import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from ((node.lineno, name if name in MODULES else node.module or "") for name in names)


def test_every_room_exists() -> None:
    places = {place for module in MODULES if (place := place_of(module))}
    assert [room for room in ALLOWED if not any(is_in(place, room) for place in places)] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    place = place_of(module_of(path))
    assert place is not None, "a file is in one of the rooms"
    allowed = ALLOWED[room_of(place)] | {"errors"}
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(path)
        if (imported := place_of(module)) is not None and not any(is_in(imported, room) for room in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(("wing", "other"), [("sync", "notify"), ("notify", "sync")])
def test_neither_wing_reaches_the_other_by_any_path(wing: str, other: str) -> None:
    reached = [module for module in MODULES if module.startswith(f"etl.{wing}.")]
    for module in reached:
        further = {imported for _, imported in imports(MODULES[module]) if imported in MODULES} - set(reached)
        reached += sorted(further)
    assert [module for module in reached if module.startswith(f"etl.{other}.")] == []


def test_no_imports_run_in_a_circle() -> None:
    graph = {
        module: {imported for _, imported in imports(path) if imported in MODULES and imported != module}
        for module, path in MODULES.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_etl_never_imports_airflow_and_nothing_imports_dev(path: Path) -> None:
    tops = {module.split(".")[0] for _, module in imports(path)}
    if path.is_relative_to(ROOT / "include"):
        assert "airflow" not in tops
    if path.relative_to(ROOT).parts[0] not in ("dev", "benchmarks", "tests"):
        assert "dev" not in tops


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_module_reaches_no_clock_network_or_database(room: str) -> None:
    for module, path in MODULES.items():
        if is_in(place_of(module) or "", room):
            found = {imported for _, imported in imports(path) if any(is_in(imported, impure) for impure in IMPURE)}
            assert found == set(), module
            assert ".now(" not in path.read_text(encoding="utf-8"), module


def test_a_folder_is_seen_at_a_glance() -> None:
    files = (path for path in sources() if path.is_relative_to(ROOT / "include") and path.name != "__init__.py")
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in Counter(path.parent for path in files).items()
        if count > MAX_FILES
    }
    assert crowded == {}


def test_a_file_is_one_concept() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}
