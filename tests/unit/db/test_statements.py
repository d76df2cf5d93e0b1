from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.db import statements as module
from etl.db.statements import statement, statements
from etl.errors import DeclarationError


@pytest.fixture
def sql_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(module, "SQL_ROOT", tmp_path)
    statements.cache_clear()
    yield tmp_path
    statements.cache_clear()


def test_each_named_block_is_a_statement_with_its_comment(sql_root: Path) -> None:
    (sql_root / "x.sql").write_text("-- name: one\n-- Why.\nselect 1;\n\n-- name: two\nselect 2;\n")
    assert {name: sql.as_string(None).strip() for name, sql in statements("x").items()} == {
        "one": "-- Why.\nselect 1;",
        "two": "select 2;",
    }


def test_a_missing_file_or_statement_is_named_with_the_fix(sql_root: Path) -> None:
    with pytest.raises(DeclarationError, match=r"gone\.sql is missing; write it"):
        statement("gone", "one")
    (sql_root / "x.sql").write_text("-- name: one\nselect 1;\n")
    with pytest.raises(DeclarationError, match="no statement 'two'; add a block"):
        statement("x", "two")


def test_a_statement_that_is_defined_twice_is_refused(sql_root: Path) -> None:
    (sql_root / "x.sql").write_text("-- name: one\nselect 1;\n-- name: one\nselect 2;\n")
    with pytest.raises(DeclarationError, match="statement one is defined twice"):
        statements("x")


def test_a_file_is_continued_by_those_named_after_it(sql_root: Path) -> None:
    (sql_root / "x.sql").write_text("-- name: one\nselect 1;\n")
    (sql_root / "x.more.sql").write_text("-- name: two\nselect 2;\n")
    (sql_root / "xy.sql").write_text("-- name: three\nselect 3;\n")
    assert list(statements("x")) == ["one", "two"]
    (sql_root / "x.most.sql").write_text("-- name: one\nselect 4;\n")
    statements.cache_clear()
    with pytest.raises(DeclarationError, match="statement one is defined twice"):
        statements("x")


def test_a_name_in_braces_stands_for_the_statement_of_the_file_and_any_other_is_left_for_later(sql_root: Path) -> None:
    (sql_root / "x.sql").write_text(
        "-- name: rows\n-- Why.\nselect 1; \n\n-- name: all\nselect * from (\n{rows}) as r, ({others}) as o;\n"
    )
    found = statements("x")["all"].substitute(others=statement("x", "rows"))
    assert found.as_string(None) == ("select * from (\n-- Why.\nselect 1\n) as r, (-- Why.\nselect 1\n) as o;\n")
