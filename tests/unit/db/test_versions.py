"""What a version of an entity declares, and which changes need another one."""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from types import ModuleType

import pytest

from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.tables import versions
from etl.db.tables.versions import Versions
from etl.declare.check import MaxLength
from etl.declare.entity import Column, ColumnType, Entity

MEMO = Column("memo", ColumnType.TEXT, required=False)


def changes(before: Entity, now: Entity) -> list[str]:
    recorded = Versions({before.version: versions.describe(before)}, has_loaded=True, has_loaded_before=True)
    return recorded.find_changes(now)


def with_column(entity: Entity, column: Column) -> Entity:
    columns = {each.name: each for each in entity.columns} | {column.name: column}
    return replace(entity, columns=tuple(columns.values()))


def test_a_declaration_that_types_records_otherwise_is_a_change_that_is_named() -> None:
    with_memo = with_column(TRANSACTIONS, MEMO)
    assert changes(TRANSACTIONS, with_memo) == ["column memo is new"]
    assert changes(with_memo, TRANSACTIONS) == ["column memo is gone"]
    assert changes(with_memo, with_column(with_memo, replace(MEMO, path="note"))) == ["column memo changed"]
    assert changes(with_memo, with_column(with_memo, replace(MEMO, required=True))) == ["column memo changed"]
    checked = replace(TRANSACTIONS, checks=(*TRANSACTIONS.checks, MaxLength("category", 9)))
    assert changes(TRANSACTIONS, checked) == ["check max_length(category) is new"]
    assert changes(checked, replace(checked, checks=(*TRANSACTIONS.checks, MaxLength("category", 8)))) == [
        "check max_length(category) changed"
    ]
    assert changes(MERCHANTS, replace(MERCHANTS, hook=None)) == ["hook is gone"]
    assert changes(MERCHANTS, replace(MERCHANTS, newest_by=None)) == ["newest_by is gone"]


def test_what_no_row_depends_on_is_no_change() -> None:
    described = with_column(TRANSACTIONS, replace(TRANSACTIONS.columns[0], summary="Of the bank."))
    for same in (described, replace(TRANSACTIONS, summary="Money.", chunk_size=7, history=False)):
        assert changes(TRANSACTIONS, same) == []


def test_only_the_first_changes_are_named() -> None:
    now = replace(MERCHANTS, checks=(), columns=(*MERCHANTS.columns, *(replace(MEMO, name=f"m{n}") for n in range(4))))
    assert changes(MERCHANTS, now) == [
        *(f"column m{n} is new" for n in range(4)),
        "check not_empty(entity_id) is gone",
        "1 more",
    ]


def test_another_version_or_one_that_loaded_nothing_may_change() -> None:
    recorded = Versions(
        {TRANSACTIONS.version: versions.describe(TRANSACTIONS)}, has_loaded=True, has_loaded_before=True
    )
    changed = with_column(TRANSACTIONS, MEMO)
    following = replace(changed, version=recorded.next_number)
    assert following.version == TRANSACTIONS.version + 1
    assert recorded.find_changes(following) == []
    assert recorded.is_new(following)
    assert recorded.needs_replay(following)
    assert replace(recorded, has_loaded=False).find_changes(changed) == []
    assert not recorded.is_new(TRANSACTIONS)
    assert not recorded.needs_replay(TRANSACTIONS)


@pytest.mark.parametrize(
    ("source", "number"),
    [
        (
            "'Docstring.'\ndef hook(rows):\n    # why\n    'Return them.'\n    return rows[:LAST]\nLAST = 1",
            1,
        ),
        ("def hook(rows):\n    return rows[:LAST]\n\nLAST = 2\n", 2),
        ("def hook(rows):\n    return rows\n\nLAST = 1\n", 2),
    ],
    ids=["comments", "constant", "code"],
)
def test_the_code_of_a_hooks_module_counts_but_not_its_comments(
    monkeypatch: pytest.MonkeyPatch, source: str, number: int
) -> None:
    def declare(text: str) -> str:
        module = ModuleType("hooks_of_a_test")
        exec(text, module.__dict__)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(inspect, "getsource", lambda _: text)
        return versions.describe(replace(MERCHANTS, hook=module.hook))["hook"]

    hooks = {declare("def hook(rows):\n    return rows[:LAST]\n\n\nLAST = 1\n"), declare(source)}
    assert len(hooks) == number


def test_columns_of_any_recorded_version_that_are_not_declared_any_more_are_known() -> None:
    recorded = Versions(
        {1: versions.describe(with_column(TRANSACTIONS, MEMO)), 2: versions.describe(TRANSACTIONS)},
        has_loaded=False,
        has_loaded_before=True,
    )
    assert recorded.removed_columns(TRANSACTIONS) == {"memo"}
