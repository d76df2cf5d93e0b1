"""The catalogue declares; it does not compute."""

import ast
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.catalog.queues import QUEUES
from etl.declare.entity import Entity
from etl.declare.notice import STATEMENTS, Notice
from etl.stores.statements import statements

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
FILES = sorted(CATALOG.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CATALOG)))
def test_the_catalogue_holds_only_imports_literals_and_declarations(path: Path) -> None:
    found = [
        f"line {getattr(node, 'lineno', '?')}: {type(node).__name__}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if not isinstance(node, DECLARATIVE)
    ]
    assert found == []


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_every_entity_has_its_statements_each_with_a_comment(entity: Entity) -> None:
    found = statements(f"entities/{entity.name}")
    assert set(entity.statements) <= found.keys()
    assert all(sql.as_string(None).lstrip().startswith("--") for sql in found.values())


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: notice.name)
def test_every_notice_has_its_statements_each_with_a_comment(notice: Notice) -> None:
    found = statements(f"notices/{notice.name}")
    assert set(STATEMENTS) <= found.keys()
    assert all(sql.as_string(None).lstrip().startswith("--") for sql in found.values())


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_a_merge_looks_rows_up_one_by_one_and_never_reads_the_table(entity: Entity) -> None:
    file = statements(f"entities/{entity.name}")
    merge = file.get("known_by_key", file["merge"]).as_string(None)
    assert f"from core.{entity.name} as k" in merge
    assert "offset 0" in merge


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_a_merge_that_knows_two_ways_to_find_rows_has_a_place_for_them(entity: Entity) -> None:
    file = statements(f"entities/{entity.name}")
    ways = {"known_by_key", "known_of_accounts"} & file.keys()
    assert len(ways) == (2 if "{known}" in file["merge"].as_string(None) else 0)
    assert entity.feed or not ways, "only those of a feed have their accounts in `incoming_cursors`"


@pytest.mark.parametrize(
    "path", sorted((CATALOG.parents[1] / "sql" / "stores").glob("*.sql")), ids=lambda path: path.stem
)
def test_every_stored_statement_says_why(path: Path) -> None:
    for name, sql in statements(f"stores/{path.stem}").items():
        assert sql.as_string(None).lstrip().startswith("--"), name


def test_names_are_unique() -> None:
    for declared in (ENTITIES, NOTICES, QUEUES):
        names = [item.name for item in declared]
        assert len(set(names)) == len(names)
