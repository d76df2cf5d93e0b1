"""Which component of the project may import which, checked against the code."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHARED = {
    *("db", "storage", "clients", "declare", "catalog_folder"),
    *("settings", "csv_lines", "json_text", "mail_address", "chunking", "currency", "sql_syntax"),
    *("inline_css", "safe_text"),
}
"""Components that both `sync` and `notify` use."""

PURE = {
    *("alerts.alert", "alerts.blockers", "alerts.eta", "alerts.formatting", "alerts.mail"),
    *("inline_css", "safe_text"),
    *("chunking", "clients.mail", "clients.mime", "csv_lines", "currency", "declare", "json_text", "mail_address"),
    *("notify.formats", "notify.review.lint", "notify.review.pages", "notify.templates"),
    *("notify.bounces.read", "notify.bounces.return_path", "notify.bounces.rule", "notify.health.breaker"),
    *("notify.timing.hours", "notify.timing.schedule", "notify.timing.spreading"),
    *("notify.unsubscribe_links", "preflight.templates", "sql_syntax", "sync.records"),
}
"""Components without access to a clock, the network or a database."""

ALLOWED = {
    "dags": {"plugins", "catalog"},
    "plugins": {"plugins", "alerts", "maintenance", "sync", "notify", "catalog", *SHARED},
    "cli": {"cli", "conform", "preflight", "maintenance", "sync", "notify", "catalog", *SHARED},
    "conform": {"conform", "sync", *SHARED},
    "alerts": {"alerts", "sync", "notify", *SHARED},
    "alerts.store": {"alerts.store", "alerts.alert", "alerts.blockers", "clients.mail", "db", "declare"},
    "maintenance": {"maintenance", "sync", "notify", *SHARED},
    "maintenance.store": {"maintenance.store", "sync.store", "notify.store", "db", "declare"},
    "preflight": {"preflight", "sync", "notify.templates", "db", "catalog_folder", "declare", "sql_syntax"},
    "sync": {"sync", *SHARED},
    "sync.provider": {"sync.provider", "sync.records", "clients", "declare", "settings", "json_text", "chunking"},
    "sync.records": {"sync.records", "currency", "declare", "json_text"},
    "sync.logins.store": {"sync.logins.store", "db", "chunking"},
    "sync.store": {
        *("sync.store", "sync.records", "db", "storage", "declare", "json_text", "chunking", "catalog_folder"),
    },
    "notify": {"notify", *SHARED},
    "notify.channels": {
        *("notify.channels", "notify.bounces.return_path"),
        *("clients", "declare", "settings", "json_text", "mail_address"),
    },
    "notify.bounces.return_path": {"settings"},
    "notify.bounces.rule": set(),
    "notify.bounces.store": {"notify.bounces.store", "notify.bounces.rule", "notify.store", "db", "declare"},
    "notify.audience.rules": {"db", "declare"},
    "notify.store": {"notify.store", "notify.audience.rules", "notify.health.breaker", "db", "declare", "safe_text"},
    "notify.health.breaker": set(),
    "catalog": {"catalog", "catalog_folder", "declare"},
    "catalog.hooks": set(),
    "db": {"db", "catalog_folder", "declare", "settings"},
    "storage": {"storage"},
    "clients": {"clients", "settings", "json_text", "mail_address"},
    "declare": {"declare", "catalog_folder", "currency", "mail_address", "sql_syntax"},
    "settings": set(),
    "sql_syntax": set(),
    "catalog_folder": set(),
    "chunking": set(),
    "csv_lines": set(),
    "currency": set(),
    "inline_css": set(),
    "json_text": set(),
    "mail_address": set(),
    "safe_text": set(),
    "errors": set(),
    "alerts.alert": {"alerts.formatting"},
    "alerts.blockers": {"alerts.formatting"},
    "alerts.eta": {"alerts.alert", "alerts.formatting"},
    "alerts.formatting": set(),
    "alerts.mail": {"alerts.alert", "alerts.formatting", "clients.mail"},
    "clients.mail": set(),
    "clients.mime": {"clients.mail", "mail_address"},
    "notify.formats": {"currency", "declare", "safe_text"},
    "notify.review.lint": {"declare", "mail_address"},
    "notify.review.pages": {"notify.review.lint"},
    "notify.templates": {"notify.formats", "catalog_folder", "declare", "inline_css", "safe_text"},
    "notify.timing": {
        *("notify.timing", "notify.channels", "notify.deferral", "notify.store", "csv_lines", "db", "declare"),
    },
    "notify.unsubscribe_links": {"declare", "settings"},
    "deploy": {"deploy", "cli", "catalog", "db", "declare"},
    "dev": {"dev", "deploy", "cli", "sync", "notify", "catalog", *SHARED},
    "dev.audit": set(),
    "benchmarks": {"benchmarks", "plugins", "dev", "sync", "notify", "catalog", *SHARED},
    "tests": {
        *("tests", "benchmarks", "deploy", "dev", "dags", "plugins"),
        *("cli", "conform", "alerts", "maintenance", "preflight", "sync", "notify", "catalog", *SHARED),
    },
}
"""Component, which is a package or module → components that it may import; every component may import `errors`.

Names in `include/etl` are written without `etl.`. A file belongs to the innermost component that contains it.
"""

MAX_FILES = 15
"""Files in a folder of `include/`; more cannot be taken in at a glance."""

MAX_LINES = 400
"""Lines of a file; a longer one holds more than one concept."""

IMPURE = {
    *("aiohttp", "aiosmtplib", "asyncio", "http", "os", "psycopg", "redis", "requests", "socket", "sqlalchemy"),
    *("ssl", "subprocess", "time", "upath", "urllib.request"),
}
"""Modules that give access to a clock, the network or a database."""

PLUGINS = {path.stem for path in (ROOT / "plugins").glob("*.py")}


def sources() -> list[Path]:
    folders = ("dags", "plugins", "include/etl", "include/catalog", "deploy", "dev", "benchmarks", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the dotted name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] in ("include", "plugins") else parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sources()}


def short_name(module: str) -> str | None:
    """Return a module's name without `etl.`, None if it is not of this project; `etl.sync.plan` is `sync.plan`."""
    top, _, below = module.partition(".")
    if top == "etl":
        return below if below not in ("", "__main__") else "cli"
    if top in PLUGINS:
        return f"plugins.{top}"
    return module if top in ALLOWED else None


def is_in(name: str, component: str) -> bool:
    return name == component or name.startswith(f"{component}.")


def component_of(name: str) -> str:
    return max((component for component in ALLOWED if is_in(name, component)), key=len)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the module of each import, at any level of the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from ((node.lineno, name if name in MODULES else node.module or "") for name in names)


def test_every_component_exists() -> None:
    names = {name for module in MODULES if (name := short_name(module))}
    assert [component for component in ALLOWED if not any(is_in(name, component) for name in names)] == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_component_may_import(path: Path) -> None:
    name = short_name(module_of(path))
    assert name is not None, "every file belongs to a component"
    allowed = ALLOWED[component_of(name)] | {"errors"}
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(path)
        if (imported := short_name(module)) is not None and not any(is_in(imported, component) for component in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize(("package", "other"), [("sync", "notify"), ("notify", "sync")])
def test_sync_and_notify_do_not_import_each_other_even_indirectly(package: str, other: str) -> None:
    reached = [module for module in MODULES if module.startswith(f"etl.{package}.")]
    for module in reached:
        imported_modules = {imported for _, imported in imports(MODULES[module]) if imported in MODULES} - set(reached)
        reached += sorted(imported_modules)
    assert [module for module in reached if module.startswith(f"etl.{other}.")] == []


def test_there_is_no_import_cycle() -> None:
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


def test_only_one_package_opens_connections_to_postgres() -> None:
    own = ("include/etl/db", "dev/audit", "tests")  # an audit shares no code with what it audits
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        if not any(path.is_relative_to(ROOT / folder) for folder in own)
        for line in postgres_connects(path)
    ]
    assert wrong == []


def postgres_connects(path: Path) -> Iterator[int]:
    """Yield the lines that open a connection by psycopg itself, without the bounds of `etl.db`."""
    connections = ("psycopg", "psycopg.Connection", "psycopg.AsyncConnection")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "psycopg":
            names = {"connect", "Connection", "AsyncConnection"} & {alias.name for alias in node.names}
            yield from [node.lineno] * len(names)
        elif isinstance(node, ast.Attribute) and node.attr == "connect" and ast.unparse(node.value) in connections:
            yield node.lineno


@pytest.mark.parametrize("component", sorted(PURE))
def test_a_pure_module_uses_no_clock_network_or_database(component: str) -> None:
    for module, path in MODULES.items():
        if is_in(short_name(module) or "", component):
            impure_imports = {
                imported for _, imported in imports(path) if any(is_in(imported, impure) for impure in IMPURE)
            }
            assert impure_imports == set(), module
            assert ".now(" not in path.read_text(encoding="utf-8"), module


def test_no_folder_has_too_many_files() -> None:
    files = (path for path in sources() if path.is_relative_to(ROOT / "include") and path.name != "__init__.py")
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in Counter(path.parent for path in files).items()
        if count > MAX_FILES
    }
    assert crowded == {}


def test_no_file_has_too_many_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}
