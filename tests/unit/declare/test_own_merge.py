"""An entity's own `merge`: it takes the place of the composed one, and must write every declared column."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.tables.entity_statements import EntityStatements
from etl.declare.entity import Entity
from etl.declare.statements.merge import require_complete_merge
from etl.errors import DeclarationError


def write_merge(tmp_path: Path, entity: Entity, *edits: tuple[str, str]) -> Path:
    """Return an SQL file with the composed merge of an entity, edited."""
    text = EntityStatements(entity)["merge"].as_string(None)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{entity.name}.sql"
    path.write_text(f"-- name: other\nselect 1;\n\n-- name: merge\n{text}")
    return path


@pytest.mark.parametrize("entity", [TRANSACTIONS, MERCHANTS], ids=lambda entity: entity.name)
def test_the_composed_merge_is_complete(tmp_path: Path, entity: Entity) -> None:
    require_complete_merge(entity, write_merge(tmp_path, entity))


def test_an_insert_without_a_declared_column_is_refused_with_file_line_and_column(tmp_path: Path) -> None:
    path = write_merge(tmp_path, MERCHANTS, ('\n        "website",', ""), ('\n        "d"."website",', ""))
    with pytest.raises(DeclarationError) as raised:
        require_complete_merge(MERCHANTS, path)
    assert str(raised.value) == (
        f"{path}:5: statement merge inserts rows without website, which the entity declares; add it, or remove the "
        "statement: the composed one has every column"
    )


def test_an_update_without_a_declared_column_is_refused(tmp_path: Path) -> None:
    path = write_merge(tmp_path, MERCHANTS, ('"website" = excluded."website",', ""))
    with pytest.raises(DeclarationError, match="statement merge updates rows without website, which the entity decl"):
        require_complete_merge(MERCHANTS, path)


def test_a_column_that_is_named_in_a_comment_or_a_condition_only_is_forgotten_all_the_same(tmp_path: Path) -> None:
    edit = ('"website" = excluded."website",', '-- "website" = excluded."website",\n')
    with pytest.raises(DeclarationError, match="updates rows without website"):
        require_complete_merge(MERCHANTS, write_merge(tmp_path, MERCHANTS, edit))


def test_several_updates_are_complete_together(tmp_path: Path) -> None:
    path = tmp_path / "merchants.sql"
    values = ", ".join(f"{name} = '1'" for name in ("name", "type", "website", "category"))
    path.write_text(
        f"-- name: merge\nwith a as (update core.merchants set {values}) "
        "update core.merchants set named_on = now(), observed_at = now(), raw_id = %(raw_id)s;\n"
    )
    require_complete_merge(MERCHANTS, path)


def test_a_statement_without_writes_of_its_own_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "merchants.sql"
    path.write_text("-- name: merge\nselect inserted, updated, superseded from core.merge_merchants(%(raw_id)s);\n")
    require_complete_merge(MERCHANTS, path)


def test_a_merge_that_is_no_sql_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_merge(tmp_path, MERCHANTS, ("order by", "order bye"))
    line = path.read_text().partition("order bye")[0].count("\n") + 1
    with pytest.raises(
        DeclarationError, match=rf"merchants\.sql:{line}: statement merge: syntax error at or near .bye"
    ):
        require_complete_merge(MERCHANTS, path)
