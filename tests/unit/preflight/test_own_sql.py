"""The SQL files of entities and notices, checked without a database."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.notices import NOTICES
from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.preflight import own_sql
from etl.preflight.own_sql import ENTITY_PARAMETERS, find_columns, find_entity_faults, find_notice_faults

ETL = Path(own_sql.__file__).parents[1]
RECIPIENTS = "select 1 as position, 2 as user_id, 'x' as dedupe_key, %(days)s as days\nlimit %(limit)s;"


def entity_faults(tmp_path: Path, text: str, *, name: str = "merchants") -> list[str]:
    (tmp_path / f"{name}.sql").write_text(text)
    return [
        str(each).replace(f"{tmp_path}/", "") for each in find_entity_faults([MERCHANTS], ["merchants"], sql=tmp_path)
    ]


def notice_faults(tmp_path: Path, *, bounds: str = "select 1 as position;", recipients: str = RECIPIENTS) -> list[str]:
    text = f"-- name: bounds\n{bounds}\n\n-- name: recipients\n-- Why.\n{recipients}\n"
    (tmp_path / "low_balance.sql").write_text(text)
    found = find_notice_faults([LOW_BALANCE], ["low_balance"], sql=tmp_path)
    return [str(each).replace(f"{tmp_path}/", "") for each in found]


def test_every_statement_that_a_load_may_run_is_known_with_its_parameters() -> None:
    used = set()
    for path in ETL.rglob("*.py"):
        text = path.read_text()
        if "EntityStatements" in text or "statements: Statements" in text:
            used |= set(re.findall(r'(?:file|statements|\w+Statements\([\w, ]+\)|self)\["(\w+)"\]', text))
            used |= set(re.findall(r'"(\w+)" (?:not )?in (?:file|statements|\(statements)', text))
    assert used - ENTITY_PARAMETERS.keys() == set()
    assert {"merge", "end_replaced", "find_absent", "drop_read_later", "table"} <= used


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "-- name: before_merge\n-- Why.\nselect 1\nfrom incoming as i\nwhre true;",
            '5: statement before_merge: syntax error at or near "whre"; write valid SQL',
        ),
        (
            "-- name: mrege\nselect 1;",
            "2: statement mrege: nothing runs a statement of this name; did you mean merge?",
        ),
        (
            "-- name: close_held\nselect %(raw_id)s,\n%(rawid)s;",
            "3: statement close_held: it has the parameter rawid, which it does not get; did you mean raw_id?",
        ),
        (
            "-- name: close_held\nselect 1;\nselect 2;",
            "2: statement close_held: it has 2 statements; keep one, and write a `-- name:` line above each other",
        ),
        (
            "-- name: close_held\nselect 5 % 3;",
            "2: statement close_held: '%' is no parameter; write %(name)s for a value, and %% for a percent sign",
        ),
        (
            "-- name: close_held\nselect {lookup};",
            '2: statement close_held: syntax error at or near "{"; write valid SQL',
        ),
    ],
)
def test_a_fault_of_an_entitys_statement_says_file_line_and_remedy(tmp_path: Path, text: str, fault: str) -> None:
    assert entity_faults(tmp_path, text) == [f"merchants.sql:{fault}"]


@pytest.mark.parametrize(
    "text",
    [
        "-- name: table\ncreate index if not exists a on core.merchants (name);\ncreate view b as select 1;",
        "-- name: rows\nselect 1 as a;\n-- name: before_merge\nselect a from (\n    {rows}\n) as r;",
        "-- name: newly_linked\nselect 5 % 3;",
        "-- name: existing_by_key\nselect 1;",
    ],
)
def test_a_statement_that_a_load_can_run_has_no_fault(tmp_path: Path, text: str) -> None:
    assert entity_faults(tmp_path, text) == []


def test_a_fault_in_a_part_is_found_where_the_part_stands(tmp_path: Path) -> None:
    text = "-- name: before_merge\nselect a from (\n    {rows}\n) as r;\n\n-- name: rows\nselect 1 as a\nfrom b c d;"
    assert {fault.partition(": ")[0] for fault in entity_faults(tmp_path, text)} == {"merchants.sql:8"}


def test_a_file_that_belongs_to_no_entity_is_a_fault(tmp_path: Path) -> None:
    assert entity_faults(tmp_path, "-- name: table\nselect 1;", name="merchant.ends") == [
        "merchant.ends.sql: no entity is named merchant; did you mean merchants?"
    ]


def test_the_files_of_the_catalogue_have_no_fault() -> None:
    entities, notices = [each.name for each in ENTITIES], [each.name for each in NOTICES]
    assert list(find_entity_faults(ENTITIES, entities)) == []
    assert list(find_notice_faults(NOTICES, notices)) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"recipients": RECIPIENTS.replace("days)s", "dys)s")},
            "6: statement recipients: it has the parameter dys, which it does not get; did you mean days?",
        ),
        (
            {"bounds": "select 1 as position limit %(limit)s;"},
            (
                "2: statement bounds: it has the parameter limit, which it does not get; write one of days, "
                "thresholds, link, run_id, period, as_of"
            ),
        ),
        (
            {"bounds": "select 1 as place;"},
            "2: statement bounds: it returns no column position; add it",
        ),
        (
            {"recipients": "select 1 as position, 2 as user_id;"},
            "5: statement recipients: it returns no column dedupe_key; add it",
        ),
        (
            {"bounds": "delete from core.users returning 1 as position;"},
            "2: statement bounds: it is no query, but runs within another one; write a select",
        ),
        (
            {"bounds": "select 1 as position;\n-- name: recipent\nselect 1;"},
            "4: statement recipent: nothing runs a statement of this name; did you mean recipients?",
        ),
    ],
)
def test_a_fault_of_a_notices_statement_says_file_line_and_remedy(
    tmp_path: Path, changes: dict[str, str], fault: str
) -> None:
    assert notice_faults(tmp_path, **changes) == [f"low_balance.sql:{fault}"]


def test_the_columns_of_an_audience_are_known_from_its_text(tmp_path: Path) -> None:
    assert notice_faults(tmp_path) == []
    assert find_columns(LOW_BALANCE, sql=tmp_path) == ("position", "user_id", "dedupe_key", "days")
    notice_faults(tmp_path, recipients="select * from x;")
    assert find_columns(LOW_BALANCE, sql=tmp_path) is None
