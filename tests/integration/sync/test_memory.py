"""Downloads under the memory cap that a worker sets: large pages cost their login at most, never the process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from dev.stack.stack import Stack
from etl.catalog.providers.plaid import PLAID
from etl.catalog.queues import ETL
from etl.settings import Endpoint
from etl.sync.drain import account as drain
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.scripted_bank import ScriptedBank
from tests.unit.sync.samples import page, transaction

Rows = Callable[..., list[tuple[object, ...]]]
Download = Callable[[], int]
MIB = 1 << 20
ROOT = Path(__file__).parents[3]
CALM = page(added=[transaction()], next_cursor="c1")


@pytest.fixture
def download(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, stack: Stack, database: Endpoint, tmp_path: Path
) -> Download:
    """Return a download in a process that is capped as a task; it returns the bytes by which its memory grew."""
    key = Fernet.generate_key().decode()
    scripted_pipeline.cipher = TokenCipher([key])
    arguments = {
        "database": asdict(database),
        "root": str(scripted_pipeline.root),
        "key": key,
        "bank": scripted_bank.url,
    }
    environment = {**stack.environment, "AIRFLOW_HOME": str(tmp_path)}
    environment["PYTHONPATH"] += f":{ROOT}:{ROOT / 'plugins'}"

    def run() -> int:
        command = [sys.executable, "-m", "tests.integration.sync.capped_download", json.dumps(arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, check=True, stdout=subprocess.PIPE)
        return int(done.stdout.splitlines()[-1])

    return run


def large_page(size: int, number: int, *, has_more: bool) -> bytes:
    """Return a page whose only record is large."""
    record = transaction(transaction_id=f"large-{number}", name="x" * size)
    return page(added=[record], next_cursor=f"c{number}", has_more=has_more)


def test_a_page_of_millions_of_records_costs_its_login_and_neither_the_process_nor_the_siblings(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, download: Download, rows: Rows
) -> None:
    scripted_pipeline.enrol("flood", "calm")
    empty_records = b",".join([b"{}"] * (57 * MIB // 3))
    scripted_bank.script("flood", CALM.replace(b'"modified":[]', b'"modified":[' + empty_records + b"]"))
    scripted_bank.script("calm", CALM)
    scripted_pipeline.plan("run")
    download()
    ((login, outcome, reason),) = rows("select provider_account_id, outcome, reason from etl.left_out")
    assert (login, outcome) == (1, "oversized")
    assert re.fullmatch(r"a page of 199\d{5} or more values where 500 records were asked for", str(reason))
    assert rows("select count(*) from etl.interruptions") == [(0,)]
    raw_id = scripted_pipeline.store_raw("run")
    assert scripted_pipeline.load(scripted_pipeline.transform(raw_id)).inserted == 1


@pytest.mark.parametrize("size", [60 * MIB, drain.MAX_SIZE_TOGETHER - 10_000], ids=["large", "just not large"])
def test_logins_that_all_send_large_pages_take_less_memory_than_a_task_may_have(
    scripted_pipeline: Pipeline, scripted_bank: ScriptedBank, download: Download, rows: Rows, size: int
) -> None:
    logins = [f"large-{number}" for number in range(PLAID.concurrency)]
    scripted_pipeline.enrol(*logins, "calm")
    pages = [large_page(size, number, has_more=number < 2) for number in range(3)]
    refused = pages[:1] if size > drain.MAX_SIZE_TOGETHER else []
    for login in logins:
        scripted_bank.script(login, *refused, *pages)
    scripted_bank.script("calm", CALM)
    scripted_pipeline.plan("run")
    grown = download()
    assert rows("select outcome from etl.chunks") == [({"drained": 17},)]
    assert {len(scripted_bank.requests[login]) for login in logins} == {len([*refused, *pages])}
    assert grown < ETL.memory * MIB
