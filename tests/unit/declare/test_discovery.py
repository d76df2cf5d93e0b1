"""Discovery of declarations in a package: a fault in one is reported, and does not stop the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from etl.catalog import entities
from etl.catalog.entities.simplefin_transactions import SIMPLEFIN_TRANSACTIONS
from etl.catalog.providers.simplefin import TRANSACTIONS_LIST
from etl.declare.column import ColumnType
from etl.declare.consistency import find_contradictions
from etl.declare.discovery import discover_entities
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault

_ordinals = count(1)

SNAPSHOT = """
from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID, TRANSACTIONS_SYNC
from etl.catalog.queues import ETL
from etl.declare.entity import After, Column, ColumnType, Entity, RawOf

DECLARED = Entity(
    name={name!r},
    summary="Something.",
    provider=PLAID,
    source={source},
    key=("account_id",),
    columns=(Column("account_id", ColumnType.TEXT),),
    queue=ETL,
    schedule={schedule},
)
"""
RAW = 'RawOf({entity!r}, places={{"accounts_get": ("accounts[]",)}}, having="account_id")'
TABLE_AND_MERGE = "-- name: table\nselect 1;\n-- name: merge\nselect 1;\n"


class Package:
    """A package of declarations, and the folder of their SQL files."""

    def __init__(self, root: Path) -> None:
        self.name = f"declared_{next(_ordinals)}"
        self.folder = root / self.name
        self.sql = root / "sql"
        self.folder.mkdir()
        self.sql.mkdir()
        (self.folder / "__init__.py").touch()

    def write(self, name: str, text: str, *, sql: str | None = TABLE_AND_MERGE) -> Path:
        path = self.folder / f"{name}.py"
        path.write_text(text)
        if sql is not None:
            (self.sql / f"{name}.sql").write_text(sql)
        return path

    def declare(
        self,
        name: str,
        *,
        source: str = "ACCOUNTS_GET",
        schedule: str = '"0 0 * * *"',
        sql: str | None = TABLE_AND_MERGE,
    ) -> Path:
        return self.write(name, SNAPSHOT.format(name=name, source=source, schedule=schedule), sql=sql)

    def discover(self) -> tuple[tuple[Entity, ...], tuple[DeclarationFault, ...]]:
        return discover_entities(self.name, [str(self.folder)], sql=self.sql)

    def outcome(self) -> tuple[list[str], list[str]]:
        """Return the names of the entities without a fault, and of those with one."""
        discovered, faults = self.discover()
        return [entity.name for entity in discovered], [fault.name for fault in faults]

    def fault(self) -> str:
        """Return the only fault; the entity `good` has none."""
        self.declare("good")
        discovered, (fault,) = self.discover()
        assert [entity.name for entity in discovered] == ["good"]
        return str(fault)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    created = Package(tmp_path)
    yield created
    for name in [name for name in sys.modules if name.startswith(created.name)]:
        del sys.modules[name]


def test_the_entities_of_the_catalogue_come_after_those_they_depend_on_and_have_no_fault() -> None:
    names = [entity.name for entity in entities.ENTITIES]
    assert {"accounts", "transactions", "merchants"} <= set(names)
    assert names.index("transactions") < names.index("merchants")
    assert entities.FAULTS == ()


def test_entities_are_in_alphabetical_order_but_after_those_they_depend_on(package: Package) -> None:
    package.declare("alpha", schedule='After("omega")')
    package.declare("beta", source=RAW.format(entity="alpha"))
    package.declare("gamma")
    package.declare("omega")
    assert package.outcome() == (["gamma", "omega", "alpha", "beta"], [])


def test_a_syntax_error_is_a_fault_with_its_line(package: Package) -> None:
    path = package.write("odd", "X = 1\nY = (\n")
    assert package.fault() == f"{path}:2: SyntaxError: '(' was never closed; write valid Python"


def test_an_unknown_field_is_a_fault_with_its_line(package: Package) -> None:
    path = package.declare("odd")
    path.write_text(path.read_text().replace("summary", "sumary"))
    fault = package.fault()
    assert fault.startswith(f"{path}:6: TypeError: Entity.__init__() got an unexpected keyword argument 'sumary'")
    assert fault.endswith("see include/etl/declare/ for the fields of a declaration")


def test_a_wrong_member_of_an_enumeration_is_a_fault_with_the_right_ones(package: Package) -> None:
    package.write("odd", "from etl.declare.entity import ColumnType\n\nKIND = ColumnType.MONY\n")
    members = ", ".join(ColumnType.__members__)
    assert package.fault().endswith(f"/odd.py:3: ColumnType has no MONY; write one of {members}")


def test_a_wrong_value_is_a_fault_with_its_line_the_field_and_the_fix(package: Package) -> None:
    path = package.declare("odd", schedule="7")
    assert package.fault() == f"{path}:6: entity odd: schedule is 7 (int); write a str or After"


def test_a_failed_import_is_a_fault_of_the_importing_file_that_names_both_lines(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.declare.fault.PROJECT_ROOT", tmp_path)
    monkeypatch.setattr("etl.declare.fault.INCLUDE_ROOT", tmp_path)
    (tmp_path / f"{package.name}_bank.py").write_text("\n\nraise ValueError('no such bank')\n")
    package.write("odd", f"import {package.name}_bank\n")
    assert package.fault() == (
        f"{package.name}/odd.py:1: ValueError: no such bank; fix this line (raised at {package.name}_bank.py:3)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it declares no entity; write one whose name is 'odd'"),
        (
            SNAPSHOT.format(name="other", source="ACCOUNTS_GET", schedule="'@daily'"),
            "name is not that of its file; write na",
        ),
        (
            SNAPSHOT.format(name="odd", source="ACCOUNTS_GET", schedule="'@daily'")
            + SNAPSHOT.format(name="odd2", source="ACCOUNTS_GET", schedule="'@daily'").replace("DECLARED", "SECOND"),
            "it declares the entities odd, odd2; give each a file of its own name",
        ),
    ],
    ids=["none", "other name", "two"],
)
def test_a_file_must_declare_one_entity_of_the_same_name(package: Package, text: str, message: str) -> None:
    package.write("odd", text)
    assert message in package.fault()


def test_a_file_whose_name_is_no_valid_entity_name_is_a_fault(package: Package) -> None:
    package.write("Odd-one", "")
    assert "this file: name is 'Odd-one'; write lower-case letters, digits and _" in package.fault()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("-- name: table\n-- Why.\n-- name: merge\nselect 1;\n", "odd.sql lacks table; write the SQL below a line"),
        (TABLE_AND_MERGE * 2, "odd.sql: statement table is defined twice"),
    ],
    ids=["comments only", "twice"],
)
def test_an_sql_file_that_cannot_be_used_is_a_fault_that_names_it(package: Package, sql: str, message: str) -> None:
    path = package.declare("odd", sql=sql)
    fault = package.fault()
    assert fault.startswith(f"{path}: entity odd: {package.sql}/odd.sql")
    assert message in fault


def test_an_entity_needs_no_sql_file_but_one_that_continues_a_missing_file_is_a_fault(package: Package) -> None:
    package.declare("odd", source="TRANSACTIONS_SYNC", sql=None)
    assert package.outcome() == (["odd"], [])
    (package.sql / "odd.ends.sql").write_text(TABLE_AND_MERGE)
    assert "odd.sql is missing; write it, with a `-- name:` line before each statement" in package.fault()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"schedule": 'After("nobody")'},
            "entity odd: schedule names 'nobody', which no file declares; name one of good",
        ),
        ({"source": RAW.format(entity="nobody")}, "entity odd: source names 'nobody', which no file declares"),
        (
            {"source": RAW.format(entity="good").replace("accounts_get", "nothing")},
            "'nothing', which good does not read",
        ),
        (
            {"schedule": 'After("odd")'},
            "entity odd: by its schedule it waits for itself, through odd; give one of them an",
        ),
    ],
    ids=["after nobody", "of nobody", "of another source", "after itself"],
)
def test_an_invalid_dependency_is_a_fault(package: Package, change: dict[str, str], message: str) -> None:
    package.declare("odd", **change)
    assert message in package.fault()


def test_entities_that_wait_for_each_other_are_faults_but_their_dependants_are_not(package: Package) -> None:
    package.declare("alpha", schedule='After("beta")')
    package.declare("beta", schedule='After("alpha")')
    package.declare("gamma", schedule='After("beta")')
    assert package.outcome() == (["gamma"], ["alpha", "beta"])


@pytest.mark.parametrize("sql", ["-- name: table\n", None])
def test_a_fault_of_an_entity_is_no_fault_of_its_dependants(package: Package, sql: str | None) -> None:
    path = package.declare("alpha", sql=sql)
    if sql is None:
        path.write_text("?")
    package.declare("beta", source=RAW.format(entity="alpha"), schedule='After("alpha")')
    assert package.outcome() == (["beta"], ["alpha"])


def test_a_file_that_exits_is_a_fault(package: Package) -> None:
    path = package.write("odd", "import sys\n\nsys.exit(3)\n")
    assert package.fault() == f"{path}:3: SystemExit: 3; remove the exit"


def test_an_sql_file_that_cannot_be_read_is_a_fault_of_its_entity(package: Package) -> None:
    path = package.declare("odd", sql=None)
    (package.sql / "odd.sql").mkdir()
    assert package.fault().startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("original", "copy"),
    [
        ("transactions", "transactions_copy"),
        ("transactions", "a_copy"),
        ("transactions", "transactions_sync"),
        ("payments", "payments2"),
        ("payments", "payments_sync"),
    ],
)
def test_a_copy_of_an_entity_is_a_fault_and_its_original_is_not(package: Package, original: str, copy: str) -> None:
    package.declare(original, source="TRANSACTIONS_SYNC")
    package.declare(copy, source="TRANSACTIONS_SYNC")
    assert package.outcome() == ([original], [copy])


def test_a_copy_that_kept_the_name_of_its_original_is_a_fault_and_the_original_is_not(package: Package) -> None:
    text = package.declare("transactions", source="TRANSACTIONS_SYNC").read_text()
    package.write("a_copy", text)
    assert package.outcome() == (["transactions"], ["a_copy"])


def test_a_second_reader_of_a_feed_is_a_fault_and_the_entity_with_the_name_of_the_feed_is_not(package: Package) -> None:
    package.declare("copies", source="TRANSACTIONS_SYNC")
    package.declare("transactions", source="TRANSACTIONS_SYNC")
    (entity,), (fault,) = package.discover()
    assert entity.name == "transactions"
    assert "entity copies: source is the feed transactions_sync, which transactions reads too" in str(fault)
    assert "RawOf('transactions', …)" in str(fault)


def test_two_readers_of_a_feed_are_both_faults_if_neither_has_the_name_of_the_feed(
    package: Package,
) -> None:
    package.declare("copies", source="TRANSACTIONS_SYNC")
    package.declare("others", source="TRANSACTIONS_SYNC")
    assert package.outcome() == ([], ["copies", "others"])


def test_a_second_reader_of_a_list_of_recent_days_is_a_fault_and_may_read_it_under_another_name() -> None:
    other = replace(SIMPLEFIN_TRANSACTIONS, name="copies")
    entities = {each.name: each for each in (SIMPLEFIN_TRANSACTIONS, other)}
    faults = find_contradictions(entities, names=entities)
    assert "source is simplefin_transactions_list, which simplefin_transactions reads too" in faults["copies"]
    assert "give its source another name, or declare it as RawOf('simplefin_transactions', …)" in faults["copies"]
    assert "simplefin_transactions" not in faults
    entities["copies"] = replace(other, source=replace(TRANSACTIONS_LIST, name="copies_list"))
    assert find_contradictions(entities, names=entities) == {}
