"""The templates of notices, checked with the columns of their audience and without rendering."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest
from jinja2 import FileSystemLoader

from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.catalog_folder import SHIPPED
from etl.preflight.own_sql import find_columns
from etl.preflight.templates import find_template_faults

COLUMNS = find_columns(LOW_BALANCE)


def faults(tmp_path: Path, text: str, *, name: str = "email.text.jinja", columns: object = COLUMNS) -> list[str]:
    root = tmp_path / "notices"
    copytree(SHIPPED / "notices", root, dirs_exist_ok=True)
    (root / "low_balance" / name).write_text(text)
    found = find_template_faults(LOW_BALANCE, columns, root=root)  # type: ignore[arg-type]
    return [str(each).replace(f"{root}/", "") for each in found]


@pytest.mark.parametrize(
    "text",
    [
        "{{ account | sanitize }} {{ period }} {{ as_of }} {{ days }} {{ unsubscribe_url }} {{ user_id }}",
        "{% set total = balance %}{{ total }}{% for each in [1, 2] %}{{ each }} {{ loop.index }}{% endfor %}",
        "{{ hint | default('') }}{% if note is defined %}{{ note }}{% endif %}",
        "{{ thresholds.USD }}",
    ],
)
def test_a_template_of_known_values_has_no_fault(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text) == []


def test_an_unknown_variable_is_a_fault_with_its_line_and_the_values_that_there_are(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "Hello\n{% if available %}\n{{ balnce | money(currency) }}\n{% endif %}\n")
    assert fault.startswith(
        "low_balance/email.text.jinja:3: notice low_balance: there is no balnce; did you mean balance? Its values are "
        "account, as_of, available, balance, currency, days, dedupe_key, "
    )
    assert fault.endswith("; another one needs a column of `recipients` or a parameter")


def test_a_variable_that_only_a_branch_uses_is_checked_too(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "{% if not available %}{{ pending_since }}{% endif %}")
    assert "there is no pending_since" in fault


def test_a_fault_of_the_layout_is_found_in_its_own_file(tmp_path: Path) -> None:
    root = tmp_path / "notices"
    copytree(SHIPPED / "notices", root)
    layout = root / "layout.html.jinja"
    layout.write_text(f"{layout.read_text()}\n{{{{ greeting }}}}")
    (fault,) = map(str, find_template_faults(LOW_BALANCE, COLUMNS, root=root))
    assert fault.startswith(f"{layout}:")
    assert "there is no greeting" in fault


def test_a_layout_may_use_what_a_template_sets(tmp_path: Path) -> None:
    root = tmp_path / "notices"
    copytree(SHIPPED / "notices", root)
    layout = root / "layout.html.jinja"
    layout.write_text(f"{layout.read_text()}\n{{{{ greeting }}}}")
    for mail in (root / "low_balance").glob("email.html.*"):
        mail.write_text(f"{mail.read_text()}\n{{% set greeting = account %}}")
    assert list(find_template_faults(LOW_BALANCE, COLUMNS, root=root)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("\n{{ account", "low_balance/email.text.jinja:2: unexpected end of template"),
        ("{{ account | sanitise }}", "low_balance/email.text.jinja:1: No filter named 'sanitise'; fix the template"),
        (
            '{% extends "layuot.jinja" %}',
            "low_balance/email.text.jinja: it needs layuot.jinja, which is not there; write it, or fix the name",
        ),
    ],
)
def test_a_template_that_cannot_be_compiled_is_a_fault(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(tmp_path, text)
    assert found.startswith(fault)


def test_a_template_that_may_not_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object, __: object, name: str) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / name))

    monkeypatch.setattr(FileSystemLoader, "get_source", refuse)
    found = faults(tmp_path, "")
    assert found[0].startswith(f"{tmp_path}/")
    assert all("Permission denied" in each and "; let the user of this process read it" in each for each in found)


def test_without_known_columns_only_the_syntax_is_checked(tmp_path: Path) -> None:
    assert faults(tmp_path, "{{ anything }}", columns=None) == []
    assert len(faults(tmp_path, "{{ anything", columns=None)) == 1
