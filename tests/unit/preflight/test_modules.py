"""What is wrong with the files that entities and notices share, and with all declarations together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from etl.catalog import queues
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.notices.low_balance.notice import LOW_BALANCE
from etl.catalog.providers import plaid
from etl.declare.fault import CATALOG
from etl.preflight.modules import find_mismatches, find_repeated_keys, import_shared

MODULES: dict[str, ModuleType] = {"queues": queues, "providers.plaid": plaid}


def test_the_shared_files_of_the_catalogue_have_no_fault() -> None:
    modules, faults = import_shared("etl.catalog", CATALOG)
    assert {"queues", "channels", "retention", "providers.plaid", "hooks.merchants"} <= modules.keys()
    assert faults == []
    assert list(find_repeated_keys(CATALOG)) == []
    assert list(find_mismatches([ACCOUNTS, TRANSACTIONS], [LOW_BALANCE], modules, folder=CATALOG)) == []


def test_each_file_that_cannot_be_imported_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "shared_catalog"
    (folder / "providers").mkdir(parents=True)
    (folder / "queues.py").write_text("X = 1\n")
    (folder / "retention.py").write_text("X = (\n")
    (folder / "providers" / "bank.py").write_text("\nimport nothing_of_this_name\n")
    _, faults = import_shared("shared_catalog", folder)
    assert [str(each).removeprefix(f"{folder}/") for each in faults] == [
        "providers/bank.py:2: ModuleNotFoundError: No module named 'nothing_of_this_name'; fix the import",
        "retention.py:1: SyntaxError: '(' was never closed; write valid Python",
        "queues.py: it does not define QUEUES, WORKER_GROUPS; write it",
    ]


def test_a_key_that_stands_twice_in_a_dict_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "bank.py"
    file.write_text('A = {"page": 1, "size": 2}\nB = {\n    "page": {"page": 1},\n    "page": 2,\n}\n')
    (fault,) = map(str, find_repeated_keys(tmp_path))
    assert fault == f"{file}:4: the key 'page' stands twice, so that only the last one counts; remove one"


def test_a_queue_that_is_not_declared_is_a_fault() -> None:
    other = replace(queues.ETL, name="other")
    found = find_mismatches(
        [replace(ACCOUNTS, queue=other)], [replace(LOW_BALANCE, queue=other)], MODULES, folder=CATALOG
    )
    assert [each.location for each in found] == [
        "include/etl/catalog/entities/accounts.py",
        "include/etl/catalog/notices/low_balance/notice.py",
    ]


def test_two_providers_and_two_sources_cannot_share_a_name() -> None:
    other = ModuleType("other")
    other.PLAID = replace(plaid.PLAID, concurrency=1)  # type: ignore[attr-defined]
    copy = replace(ACCOUNTS, name="copy", source=replace(plaid.ACCOUNTS_GET, path="/other"))
    provider, source = find_mismatches([ACCOUNTS, copy], [], {**MODULES, "providers.other": other}, folder=CATALOG)
    assert str(provider) == (
        "include/etl/catalog/providers/other.py: provider plaid: include/etl/catalog/providers/plaid.py has another "
        "one of this name; rename one"
    )
    assert str(source).startswith(
        "include/etl/catalog/entities/copy.py: entity copy: accounts has another source named"
    )
