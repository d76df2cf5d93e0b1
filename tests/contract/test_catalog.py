"""Rules for the declarations of the catalogue and for the SQL files of the project."""

import ast
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.catalog.queues import QUEUES
from etl.db.statements import SQL_ROOT, statements
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.declare.notice import REQUIRED_STATEMENTS, Notice

CATALOG = Path(__file__).parents[2] / "include" / "etl" / "catalog"
DECLARATIVE = (
    ast.Module,
    ast.Import,
    ast.ImportFrom,
    ast.alias,
    ast.Assign,
    ast.AnnAssign,
    ast.Expr,
    ast.Constant,
    ast.Tuple,
    ast.Dict,
    ast.Call,
    ast.keyword,
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.UnaryOp,
    ast.USub,
    ast.Load,
    ast.Store,
)
FILES = sorted(path for path in CATALOG.rglob("*.py") if not path.is_relative_to(CATALOG / "hooks"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CATALOG)))
def test_the_catalogue_holds_only_imports_literals_and_declarations(path: Path) -> None:
    forbidden_nodes = [
        f"line {getattr(node, 'lineno', '?')}: {type(node).__name__}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if not isinstance(node, DECLARATIVE)
    ]
    assert forbidden_nodes == []


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.name)
def test_every_notice_has_its_statements_each_with_a_comment(notice: Notice) -> None:
    file = statements(f"notices/{notice.name}")
    assert set(REQUIRED_STATEMENTS) <= file.keys()
    assert all(sql.as_string(None).lstrip().startswith("--") for sql in file.values())


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_a_merge_looks_up_rows_by_key_and_never_reads_the_whole_table(entity: Entity) -> None:
    file = EntityStatements(entity)
    lookup = file["existing_by_key" if "existing_by_key" in file else "merge"].as_string(None)
    assert f'from "core"."{entity.name}" as k' in lookup
    assert "offset 0" in lookup


STATEMENT_FILES = [
    str(path.relative_to(SQL_ROOT).with_suffix(""))
    for path in sorted(SQL_ROOT.rglob("*.sql"))
    if path.parent.name != "schema"
]


@pytest.mark.parametrize("file", STATEMENT_FILES)
def test_every_statement_begins_with_a_comment(file: str) -> None:
    for name, sql in statements(file).items():
        assert sql.as_string(None).lstrip().startswith("--"), name


@pytest.mark.parametrize("file", [file for file in STATEMENT_FILES if not file.startswith(("entities/", "notices/"))])
def test_a_statement_file_has_the_path_of_the_store_that_runs_it(file: str) -> None:
    package, _, name = file.rpartition("/")
    etl = SQL_ROOT.parent / "etl"
    assert any((etl / folder / f"{name}.py").is_file() for folder in (f"{package}/store", package))


def test_names_are_unique() -> None:
    for declarations in (ENTITIES, NOTICES, QUEUES):
        names = [declaration.name for declaration in declarations]
        assert len(set(names)) == len(names)
