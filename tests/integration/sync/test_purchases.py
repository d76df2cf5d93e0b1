"""Real purchases, loaded from a file through the sandbox bank, and checked by the audit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dev.servers import bank as banks
from dev.servers import http
from dev.servers.ports import candidates, is_free
from dev.servers.purchases import PurchaseSource
from dev.stack.home import REPOSITORY
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.db.connection import Connection
from etl.declare.check import MaxLength
from etl.declare.entity import Entity
from etl.settings import Endpoint
from tests.integration.conftest import SANDBOX
from tests.integration.sync.pipeline import PLAID_ONE_RETRY, Pipeline
from tests.unit.bank import purchases as sample

FOLDER = REPOSITORY / os.environ.get("SLUICE_TEST_DATA", "../shared/data")
FILE = FOLDER / "birmingham" / "transactions.csv.gz"
UNLIMITED = replace(TRANSACTIONS, provider=PLAID_ONE_RETRY, source=replace(TRANSACTIONS_SYNC, limits=()))
MAX_STARTUP = timedelta(seconds=60)

Audit = Callable[[Path], "subprocess.CompletedProcess[str]"]
Sync = Callable[..., Connection]
Rows = Callable[..., list[tuple[Any, ...]]]


def rejecting_descriptions_above(length: int) -> Entity:
    columns = (
        replace(column, required=True) if column.name == "description" else column for column in UNLIMITED.columns
    )
    return replace(UNLIMITED, columns=tuple(columns), checks=(*UNLIMITED.checks, MaxLength("description", length)))


@contextmanager
def serving(purchases: PurchaseSource) -> Iterator[Endpoint]:
    """Yield the address of a bank without limits that serves a file."""
    port = next(port for port in candidates() if is_free(port))
    command = (*banks.command(replace(SANDBOX, purchases=purchases), port=port), "--limits", "off")
    environment = {**os.environ, "BANK_CLIENT_ID": "client", "BANK_SECRET": "secret"}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as process:
        try:
            deadline = time.monotonic() + MAX_STARTUP.total_seconds()
            while not http.is_ok(port, banks.HEALTH_PATH) and time.monotonic() < deadline:
                time.sleep(0.1)
            yield Endpoint(f"http://127.0.0.1:{port}", login="client", password="secret")
        finally:
            process.terminate()


@pytest.fixture
def sync(pipeline: Pipeline) -> Sync:
    def run(file: Path, entity: Entity, items: int = 3) -> Connection:
        pipeline.entity = entity
        with serving(PurchaseSource(file, digest="", items=items)) as pipeline.endpoint:
            pipeline.link(items)
            pipeline.run("first")
        return pipeline.db

    return run


@pytest.fixture
def audit(pipeline: Pipeline) -> Audit:
    info = pipeline.db.info
    url = f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"
    environment = {**os.environ, "WAREHOUSE_URL": url, "SLUICE_RAW_ROOT": str(pipeline.root)}

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "dev.audit.purchases", str(file))
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return sample.write(tmp_path / "purchases.csv")


def test_every_row_of_a_file_is_loaded(sync: Sync, audit: Audit, file: Path) -> None:
    sync(file, UNLIMITED)
    result = audit(file)
    assert result.stdout.splitlines()[-1] == (
        'audit: {"rows": 6, "loaded": 6, "rejected": 0, "missing": 0, "not_in_file": 0}'
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_rejects_are_compared_with_their_sealed_raw_batch(sync: Sync, audit: Audit, file: Path) -> None:
    sync(file, rejecting_descriptions_above(len("cafe de paris")))
    result = audit(file)
    assert '"loaded": 3, "rejected": 3, "missing": 0' in result.stdout
    assert result.returncode == 0


COPY_ROW = """
insert into core.transactions
select (jsonb_populate_record(t, '{"transaction_id": "x"}')).* from core.transactions as t where amount = -5
"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delete from core.transactions where amount = 10.5", "missing: 1 of 2014-04-02 10.5 EUR 'cafe de paris'"),
        ("update core.transactions set amount = 1 where currency = 'HUF'", "not in the file: 1 of 2014-05-05 1"),
        ("update core.transactions set dated_on = '2014-05-06' where currency = 'HUF'", "missing: 1 of 2014-05-05"),
        (COPY_ROW, "not in the file: 1 of 2014-04-01 -5"),
    ],
)
def test_a_missing_additional_or_changed_row_is_reported(
    sync: Sync, audit: Audit, file: Path, change: str, message: str
) -> None:
    sync(file, UNLIMITED).execute(change.encode())
    result = audit(file)
    assert message in result.stdout
    assert result.returncode == 1


def test_a_reject_whose_raw_batch_was_changed_is_not_accepted(sync: Sync, audit: Audit, file: Path) -> None:
    db = sync(file, rejecting_descriptions_above(5))
    db.execute("update etl.raw_batches set content_hash = 'other'")
    result = audit(file)
    assert "does not match the hash with which it was sealed" in result.stderr
    assert result.returncode == 1


@pytest.mark.skipif(not FILE.is_file(), reason=f"no purchases at {FILE}; say where in SLUICE_TEST_DATA")
def test_every_row_of_the_published_file_is_loaded_to_the_penny(sync: Sync, audit: Audit, rows: Rows) -> None:
    sync(FILE, UNLIMITED, 13)
    *currencies, counts = audit(FILE).stdout.splitlines()[1:]
    assert counts == 'audit: {"rows": 185908, "loaded": 185908, "rejected": 0, "missing": 0, "not_in_file": 0}'
    assert len(currencies) == 19
    sums: dict[str, Decimal] = dict(rows("select currency, sum(amount) from core.transactions group by 1"))
    assert sums["GBP"] == Decimal("31970754.72")
    # Kunas, which ISO 4217 withdrew when Croatia took the euro, were tender when they were paid.
    assert rows("select count(*) from core.transactions where currency = 'HRK'") == [(3,)]
