"""What is wrong with the files that entities and notices share, and with all declarations together."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from etl.catalog import queues
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.catalog.providers import plaid
from etl.catalog_folder import CatalogFolder
from etl.preflight.modules import find_mismatches, find_repeated_keys, import_shared

MODULES: dict[str, ModuleType] = {"etl.catalog.queues": queues, "etl.catalog.providers.plaid": plaid}


def test_the_shared_files_of_the_catalogue_have_no_fault() -> None:
    modules, faults = import_shared(CatalogFolder().shared_files)
    names = ("queues", "channels", "retention", "providers.plaid", "hooks.merchants")
    assert {f"etl.catalog.{name}" for name in names} <= modules.keys()
    assert faults == []
    assert list(find_repeated_keys(CatalogFolder().files)) == []
    assert list(find_mismatches([ACCOUNTS, TRANSACTIONS], [LOW_BALANCE], modules)) == []


def test_each_file_that_cannot_be_imported_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_queues.py").write_text("X = (\n")
    (tmp_path / "own_bank.py").write_text("\nimport nothing_of_this_name\n")
    _, faults = import_shared({name: tmp_path / f"{name}.py" for name in ("own_bank", "own_queues")})
    assert [str(each).removeprefix(f"{tmp_path}/") for each in faults] == [
        "own_bank.py:2: ModuleNotFoundError: No module named 'nothing_of_this_name'; fix the import",
        "own_queues.py:1: SyntaxError: '(' was never closed; write valid Python",
    ]


def test_a_shared_file_that_lacks_what_is_read_from_it_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "etl.catalog.queues", ModuleType("queues"))
    _, faults = import_shared({"etl.catalog.queues": tmp_path / "queues.py"})
    assert [str(each).removeprefix(f"{tmp_path}/") for each in faults] == [
        "queues.py: it does not define QUEUES, WORKER_GROUPS; write it",
    ]


def test_a_key_that_stands_twice_in_a_dict_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "bank.py"
    file.write_text('A = {"page": 1, "size": 2}\nB = {\n    "page": {"page": 1},\n    "page": 2,\n}\n')
    (fault,) = map(str, find_repeated_keys([file]))
    assert fault == f"{file}:4: the key 'page' stands twice, so that only the last one counts; remove one"


def test_a_queue_that_is_not_declared_is_a_fault() -> None:
    other = replace(queues.ETL, name="other")
    found = find_mismatches([replace(ACCOUNTS, queue=other)], [replace(LOW_BALANCE, queue=other)], MODULES)
    assert [each.location for each in found] == [
        "include/etl/catalog/entities/accounts.py",
        "include/etl/catalog/notices/low_balance/notice.py",
    ]


def test_two_providers_and_two_sources_cannot_share_a_name() -> None:
    other = ModuleType("other")
    other.__file__ = "/srv/other.py"
    other.PLAID = replace(plaid.PLAID, concurrency=1)  # type: ignore[attr-defined]
    copy = replace(ACCOUNTS, name="copy", source=replace(plaid.ACCOUNTS_GET, path="/other"))
    provider, source = find_mismatches([ACCOUNTS, copy], [], {**MODULES, "catalog.providers.other": other})
    assert str(provider) == (
        "/srv/other.py: provider plaid: include/etl/catalog/providers/plaid.py has another one of this name; rename one"
    )
    assert str(source).startswith(
        "include/etl/catalog/entities/copy.py: entity copy: accounts has another source named"
    )
