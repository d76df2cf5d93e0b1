"""The arrows between the rooms of the project, drawn from its code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = {"chunks", "frames", "links", "page", "pointers", "promise", "records", "rows", "templates", "text"}
ALLOWED = {
    "dags": {"plugins", "catalog", "steps"},
    "plugins": {"plugins", "steps", "catalog", "declare", "settings", "stores", "wire", "chunks", "promise"},
    "tools": {"tools", "steps", "catalog", "declare", "settings", "stores", "wire", "links"},
    "steps": {"steps", "stores", "wire", "declare", "settings", *PURE},
    "hooks": set(),
    "stores": {"stores", "declare", "settings", *PURE},
    "wire": {"wire", "declare", "settings", *PURE},
    "catalog": {"catalog", "declare", "hooks"},
    "declare": {"declare"},
    "rows": {"records", "page", "declare"},
    "records": {"page", "declare", "text"},
    "page": set(),
    "pointers": {"records"},
    "templates": {"declare"},
    "links": {"declare", "settings"},
    "promise": {"promise"},
    "text": set(),
    "frames": set(),
    "chunks": set(),
    "settings": set(),
    "errors": set(),
    "deploy": {"deploy", "tools", "catalog", "declare"},
    "dev": {"dev", "deploy", "tools", "steps", "stores", "wire", "catalog", "declare", "settings", *PURE},
    "benchmarks": {"plugins", "benchmarks", "dev", "steps", "stores", "wire", "catalog", "declare", "settings", *PURE},
    "tests": {
        *("tests", "benchmarks", "deploy", "dev", "plugins"),
        *("tools", "steps", "stores", "wire", "catalog", "declare", "settings"),
        *PURE,
    },
}
"""Room → rooms that it may import; every room may import `errors`."""

PLUGINS = {path.stem for path in (ROOT / "plugins").glob("*.py")}


def sources() -> list[Path]:
    folders = ("dags", "plugins", "include/etl", "deploy", "dev", "benchmarks", "tests")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def room_of_module(module: str) -> str | None:
    top, *below = module.split(".")
    if top == "etl":
        return below[0] if below else "tools"
    if top in PLUGINS:
        return "plugins"
    return top if top in ("deploy", "dev", "benchmarks", "tests", "dags") else None


def room_of_file(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    if parts[:2] != ("include", "etl"):
        return parts[0]
    if path.name in ("__main__.py", "__init__.py") and len(parts) == 3:
        return "tools"
    return parts[2].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "etl":
                yield from ((node.lineno, f"etl.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    allowed = ALLOWED[room_of_file(path)] | {"errors"}
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(path)
        if (room := room_of_module(module)) is not None and room not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_etl_never_imports_airflow_and_nothing_imports_dev(path: Path) -> None:
    tops = {module.split(".")[0] for _, module in imports(path)}
    room = room_of_file(path)
    if path.is_relative_to(ROOT / "include"):
        assert "airflow" not in tops
    if room not in ("dev", "benchmarks", "tests"):
        assert "dev" not in tops


@pytest.mark.parametrize("path", sorted((ROOT / "dev/audit").glob("*.py")), ids=lambda path: path.name)
def test_audit_shares_no_code_with_what_it_audits(path: Path) -> None:
    assert not {module.split(".")[0] for _, module in imports(path)} & {"etl", "dev", "plugins", "tests"}


def test_a_file_is_one_concept() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 250
    }
    assert long == {}
