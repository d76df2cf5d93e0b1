"""Declarations of notices, and their discovery in a package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from etl.catalog import notices
from etl.catalog.channels import DESKTOP, EMAIL, PUSH
from etl.catalog.entities import ENTITIES
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.declare.discovery import discover_notices
from etl.declare.fault import DeclarationFault
from etl.errors import DeclarationError

_ordinals = count(1)
DECLARED = """
from dataclasses import replace
from etl.catalog.notices.monthly_report import notice
from etl.declare.notice import After
DECLARED = replace(notice.MONTHLY_REPORT, name={name!r}, schedule={schedule})
"""
STATEMENTS = "-- name: bounds\nselect 1;\n-- name: recipients\nselect 1;\n"


def test_the_notices_of_the_catalogue_have_no_fault() -> None:
    assert {"fraud_alert", "low_balance", "monthly_report"} <= {notice.name for notice in notices.NOTICES}
    assert notices.FAULTS == ()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Monthly", "notice Monthly: name is 'Monthly'; write lower-case letters"),
        ("pace", 0, "pace is 0 messages per second; it must be above 0, such as 0.5 for one in two seconds"),
        ("pace", float("inf"), "pace is inf messages per second"),
        ("pace", True, "pace is True (bool); write an int or float"),
        ("max_chunks", 257, "max_chunks is 257; it must be between 1 and 256"),
        ("chunk_size", 0, "chunk_size is 0; it must be at least 1"),
        ("channels", (), "channels is empty; write at least 1 Channel"),
        ("channels", (EMAIL, EMAIL), "channel email is named twice; remove one"),
        ("category", "reports", "category is 'reports' (str); write a Category"),
        ("unknown", "hold", "unknown is 'hold' (str); write an Unknown"),
        ("expiry", timedelta(), "expiry is 0:00:00; it must be longer than 0"),
        ("max_tries", 0, "max_tries is 0; it must be between 1 and 1000"),
        ("patience", timedelta(), "patience is 0:00:00; it must be longer than 0"),
        ("schedule", 7, "schedule is 7 (int); write a str or After"),
        ("schedule", "often", "schedule is 'often', which is no cron expression"),
        ("parameters", [], "parameters is [] (list); write a dict"),
        ("parameters", {"Days": 2}, "the name of a parameter is 'Days'; write lower-case letters"),
        ("parameters", {"limit": 2}, "parameter limit is always given to its statements; rename it"),
        ("parameters", {"factor": 2.5}, "parameter factor has 2.5, a float; write the text '2.5'"),
        ("parameters", {"floors": {"USD": 0.5}}, "parameter floors has 0.5, a float; write the text '0.5'"),
        ("parameters", {"floors": {840: "1"}}, "a key of parameter floors is 840 (int); write a str"),
        ("parameters", {"days": None}, "parameter days has None (NoneType); write text, a whole number"),
        ("period", "month", "period is 'month', which is the same for every run, so that only the first would send"),
    ],
)
def test_an_invalid_field_is_named_with_the_fix(field: str, value: Any, message: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        replace(MONTHLY_REPORT, **{field: value})
    assert message in str(raised.value)


def test_a_period_is_named_after_its_start() -> None:
    assert MONTHLY_REPORT.period_starting(datetime(2026, 10, 1, tzinfo=UTC)) == "2026-10"


@pytest.mark.parametrize("address", ["a@bank.example", "first.last+tag@mail.bank.example", "ü@bücher.example"])
def test_a_well_formed_address_is_accepted(address: str) -> None:
    assert EMAIL.accepts(address)


@pytest.mark.parametrize(
    "address",
    ["", "nobody", "a@bank", "a@@bank.example", "a@b.example\nBcc: c@d.example", "a b@c.example", f"{'a' * 65}@b.cc"],
)
def test_a_malformed_address_is_not_accepted(address: str) -> None:
    assert not EMAIL.accepts(address)


def test_each_channel_has_its_own_form_of_address() -> None:
    assert PUSH.accepts("token:APA91b")
    assert DESKTOP.accepts('{"endpoint": "https://push.example"}')
    assert not DESKTOP.accepts("https://push.example")


class Package:
    """A package of notices, with the folder of their statements."""

    def __init__(self, root: Path) -> None:
        self.name = f"notices_{next(_ordinals)}"
        self.folder, self.sql = root / self.name, root / "sql"
        for folder in (self.folder, self.sql):
            folder.mkdir()
        (self.folder / "__init__.py").touch()

    def declare(
        self, name: str, *, statements: str = STATEMENTS, except_template: str = "", schedule: str = "None"
    ) -> None:
        """Write the files of a notice, except one template."""
        (self.folder / name).mkdir()
        (self.folder / name / "notice.py").write_text(DECLARED.format(name=name, schedule=schedule))
        (self.sql / f"{name}.sql").write_text(statements)
        for template in MONTHLY_REPORT.template_names:
            if template != except_template:
                (self.folder / name / template).touch()

    def discover(self) -> tuple[list[str], tuple[DeclarationFault, ...]]:
        discovered, faults = discover_notices(self.name, [str(self.folder)], sql=self.sql)
        return [notice.name for notice in discovered], faults


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(tmp_path)
    created = Package(tmp_path)
    created.declare("good")
    yield created
    for name in [name for name in sys.modules if name.startswith(created.name)]:
        del sys.modules[name]


def test_a_notice_without_one_of_its_templates_is_a_fault_and_the_others_are_not(package: Package) -> None:
    package.declare("odd", except_template="email.html.jinja")
    names, (fault,) = package.discover()
    assert names == ["good"]
    assert f"notice odd: {package.folder}/odd/email.html.jinja is missing" in str(fault)


def test_a_notice_without_one_of_its_statements_is_a_fault(package: Package) -> None:
    package.declare("odd", statements="-- name: bounds\nselect 1;\n")
    names, (fault,) = package.discover()
    assert names == ["good"]
    assert "odd.sql lacks recipients; write the SQL below a line `-- name: recipients`" in str(fault)


def test_a_notice_that_depends_on_an_unknown_entity_is_a_fault(package: Package) -> None:
    package.declare("odd", schedule='After("transaction")')
    package.declare("well", schedule='After("transactions")')
    names, (fault,) = package.discover()
    assert names == ["good", "well"]
    assert str(fault).endswith(
        "odd/notice.py: notice odd: schedule names 'transaction', which no file declares; "
        f"name one of {', '.join(sorted(entity.name for entity in ENTITIES))}"
    )


def test_a_file_without_a_notice_of_its_name_is_a_fault(package: Package) -> None:
    package.declare("odd")
    (package.folder / "odd" / "notice.py").write_text("")
    names, (fault,) = package.discover()
    assert names == ["good"]
    assert "it declares no notice; write one whose name is 'odd': Notice(name='odd', …)" in str(fault)


def test_a_notice_that_is_not_named_like_its_folder_is_a_fault(package: Package) -> None:
    package.declare("odd")
    (package.folder / "odd").rename(package.folder / "_even")
    names, (fault,) = package.discover()
    assert names == ["good"]
    assert "this folder: name is '_even'; write lower-case letters" in str(fault)
    (package.folder / "_even").rename(package.folder / "even")
    names, (fault,) = package.discover()
    assert names == ["good"]
    assert str(fault).endswith("name is not that of its folder; write name='even', or rename the folder")


def test_a_folder_without_a_declaration_and_a_file_without_a_folder_are_faults(package: Package) -> None:
    package.declare("odd")
    (package.folder / "odd" / "notice.py").rename(package.folder / "stray.py")
    names, (folder, file) = package.discover()
    assert names == ["good"]
    assert str(folder) == (
        f"{package.folder}/odd/notice.py: there is no such file; declare notice odd in it, or remove its folder"
    )
    assert str(file) == (
        f"{package.folder}/stray.py: a notice is a folder with its templates; move this file to stray/notice.py"
    )
