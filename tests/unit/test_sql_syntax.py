"""SQL as Postgres' own parser reads it."""

from __future__ import annotations

import pytest

from etl.sql_syntax import SqlInvalid, Write, find_writes, number_parameters, parse, returned_columns


def test_parameters_are_numbered_and_every_other_character_keeps_its_index() -> None:
    text = "select %(a)s, '%%',\n %(b)s, %(a)s"
    assert number_parameters(text) == ("select $1   , '% ',\n $2   , $1   ", ("a", "b"))


@pytest.mark.parametrize("text", ["select 5 % 3", "select %s", "select 'a%", "select %(a)d"])
def test_a_percent_sign_that_psycopg_would_refuse_is_named_with_its_place(text: str) -> None:
    with pytest.raises(SqlInvalid, match="is no parameter; write %") as raised:
        number_parameters(text)
    assert raised.value.position == text.index("%")


def test_a_syntax_error_is_found_at_its_character() -> None:
    text = "select 'äöü€',\n  a from x whre true"
    with pytest.raises(SqlInvalid, match='syntax error at or near "true"') as raised:
        parse(text)
    assert text[raised.value.position :] == "true"


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("select a, b.c, d as e, f::text, count(*), coalesce(g, 1) from h", ("a", "c", "e", "f", "count", "coalesce")),
        (
            "select case when a then b else c end, exists (select 1), array(select 1) from d",
            ("case", "exists", "array"),
        ),
        (
            "select greatest(a, b), nullif(a, b), (select max(c) from d), 1 from e",
            ("greatest", "nullif", "max", "?column?"),
        ),
        ("with x as (select 1 as a) select a as b from x union all select c from y", ("b",)),
        ("select a.* from a", None),
        ("select a, * from a", None),
        ("values (1, 2)", None),
        ("insert into a (b) values (1)", None),
    ],
)
def test_the_columns_of_a_query_are_named_as_postgres_names_them(query: str, columns: tuple[str, ...] | None) -> None:
    (tree,) = parse(query)
    assert returned_columns(tree) == columns


@pytest.mark.parametrize(
    ("statement", "writes"),
    [
        (
            "with i as (insert into core.t as k (a, b) select 1, 2 on conflict (a) do update set b = 3) select 1",
            [Write(inserted=("a", "b")), Write(assigned=("b",))],
        ),
        ("update core.t set a = 1, b = 2", [Write(assigned=("a", "b"))]),
        ("update t set (a, b) = (1, 2)", [Write(assigned=("a", "b"))]),
        (
            "merge into t using x on y when matched then update set b = 1 when not matched then insert (a) values (1)",
            [Write(assigned=("b",)), Write(inserted=("a",))],
        ),
        ("insert into core.t select 1", [Write(inserted=())]),
        ("insert into core.other (a) select 1", []),
        ("insert into etl.t (a) select 1", []),
        ("select a from core.t", []),
    ],
)
def test_what_a_statement_writes_to_a_table_is_found_in_all_its_parts(statement: str, writes: list[Write]) -> None:
    assert list(find_writes(parse(statement), "t", schema="core")) == writes
