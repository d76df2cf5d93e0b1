"""Loads the transactions of a file into Postgres with dlt, in an environment of its own.

    python dlt_load.py PAGES VARIANT TABLE URL REFERENCES…

Prints the seconds of a pipeline run and the number of rows, as JSON. Nothing of Sluice is imported. orjson decodes each
page, and dlt receives only the columns of the core table, with declared types, so that it does not process values that
are not stored. dlt's documentation recommends `merge` with the strategy `upsert` and a primary key to update changed
records. That creates no key in the database; if TABLE is `keyed`, the table gets the key, indexes and references of
Sluice's table before the measurement starts. REFERENCES are the migrations that create the functions of the triggers by
which Sluice checks references.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import orjson
import pyarrow as pa
from dlt.sources import DltResource

_TYPES: dict[str, tuple[str, pa.DataType]] = {
    "provider_account_id": ("bigint", pa.int64()),
    "account_id": ("text", pa.string()),
    "transaction_id": ("text", pa.string()),
    "amount": ("decimal", pa.decimal128(28, 10)),
    "currency": ("text", pa.string()),
    "unofficial_currency": ("text", pa.string()),
    "dated_on": ("date", pa.date32()),
    "dated_at": ("timestamp", pa.timestamp("us", tz="UTC")),
    "authorized_on": ("date", pa.date32()),
    "authorized_at": ("timestamp", pa.timestamp("us", tz="UTC")),
    "pending": ("bool", pa.bool_()),
    "pending_transaction_id": ("text", pa.string()),
    "description": ("text", pa.string()),
    "merchant_name": ("text", pa.string()),
    "merchant_entity_id": ("text", pa.string()),
    "payment_channel": ("text", pa.string()),
    "category": ("text", pa.string()),
    "category_detail": ("text", pa.string()),
    "observed_at": ("timestamp", pa.timestamp("us", tz="UTC")),
    "raw_id": ("bigint", pa.int64()),
}
_KEY = ("provider_account_id", "account_id", "transaction_id")
_OBSERVED_AT = datetime(2026, 11, 20, tzinfo=UTC)
_FILE_RECORDS = 50_000
"""Records per file of dlt, and per Arrow table."""
_SETTINGS = {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
# As dlt's page on performance advises for two cores: files small enough to be processed in parallel.
_TUNED = {"NORMALIZE__WORKERS": "2", "DATA_WRITER__FILE_MAX_ITEMS": str(_FILE_RECORDS)}
_FORMATS = {"insert_values": None, "csv": "csv", "arrow": "csv"}
"""Variant → format of dlt's files; None is its default. `arrow` passes Arrow tables to dlt, the others dicts."""


_KEYED = """
truncate transactions;
create table provider_accounts as select n::bigint as provider_account_id from generate_series(1, 100000) as n;
create table raw_batches as select 1::bigint as raw_id;
alter table provider_accounts add primary key (provider_account_id);
alter table raw_batches add primary key (raw_id);
alter table transactions
    add primary key (provider_account_id, transaction_id);
create index on transactions (provider_account_id, pending_transaction_id) where pending_transaction_id is not null;
create index on transactions (provider_account_id, dated_on);
create trigger refers_when_inserted after insert on transactions referencing new table as added
for each statement execute function core.check_references(
    'provider_account_id', 'benchmark_dataset.provider_accounts', 'raw_id', 'benchmark_dataset.raw_batches'
);
create trigger refers_when_updated after update on transactions referencing new table as added
for each statement execute function core.check_references(
    'provider_account_id', 'benchmark_dataset.provider_accounts', 'raw_id', 'benchmark_dataset.raw_batches'
);
analyze provider_accounts, raw_batches
"""


def main(pages: Path, variant: str, table: str, url: str, references: Sequence[Path]) -> None:
    """Load the pages of a file, one per line after its provider account and a tab, and print the measurement."""
    with tempfile.TemporaryDirectory(prefix="dlt-") as folder:
        os.environ.update(_SETTINGS if variant == "insert_values" else {**_SETTINGS, **_TUNED})
        pipeline = dlt.pipeline("benchmark", pipelines_dir=folder, destination=dlt.destinations.postgres(url))
        if table == "keyed":
            first = next(_tables(pages)).slice(0, 1) if variant == "arrow" else next(_records(pages))[:1]
            pipeline.run(_resource(first))
            with pipeline.sql_client() as client:
                client.execute_sql("create schema core")
                for migration in references:
                    client.execute_sql(migration.read_text())
                client.execute_sql(_KEYED)
        records = _resource(_tables(pages) if variant == "arrow" else _records(pages))
        began = time.perf_counter()
        load_info = pipeline.run(records, loader_file_format=_FORMATS[variant])
        seconds = time.perf_counter() - began
        load_info.raise_on_failed_jobs()
        with pipeline.sql_client() as client:
            ((rows,),) = client.execute_sql("select count(*) from transactions")
    print(json.dumps({"seconds": seconds, "rows": rows, "dlt": dlt.__version__}))


def _resource(records: object) -> DltResource:
    return dlt.resource(
        records,
        name="transactions",
        primary_key=_KEY,
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns={name: {"data_type": kind} for name, (kind, _) in _TYPES.items()},
    )


def _records(pages: Path) -> Iterator[list[dict[str, Any]]]:
    with pages.open("rb") as file:
        for line in file:
            account, _, page = line.partition(b"\t")
            yield [_columns(int(account), record) for record in orjson.loads(page)["added"]]


def _tables(pages: Path) -> Iterator[pa.Table]:
    """Yield the records as Arrow tables of at least `_FILE_RECORDS`; the last may have fewer."""
    schema = pa.schema([(name, kind) for name, (_, kind) in _TYPES.items()])
    buffer: list[dict[str, Any]] = []
    for records in _records(pages):
        buffer += [_typed(record) for record in records]
        if len(buffer) >= _FILE_RECORDS:
            yield pa.Table.from_pylist(buffer, schema=schema)
            buffer = []
    if buffer:
        yield pa.Table.from_pylist(buffer, schema=schema)


def _columns(account: int, record: dict[str, Any]) -> dict[str, Any]:
    category = record["personal_finance_category"] or {}
    return {
        "provider_account_id": account,
        "account_id": record["account_id"],
        "transaction_id": record["transaction_id"],
        "amount": record["amount"],
        "currency": record["iso_currency_code"],
        "unofficial_currency": record["unofficial_currency_code"],
        "dated_on": record["date"],
        "dated_at": record["datetime"],
        "authorized_on": record["authorized_date"],
        "authorized_at": record["authorized_datetime"],
        "pending": record["pending"],
        "pending_transaction_id": record["pending_transaction_id"],
        "description": record["name"],
        "merchant_name": record["merchant_name"],
        "merchant_entity_id": record["merchant_entity_id"],
        "payment_channel": record["payment_channel"],
        "category": category.get("primary"),
        "category_detail": category.get("detailed"),
        "observed_at": _OBSERVED_AT,
        "raw_id": 1,
    }


def _typed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record with the values that Arrow needs; generated transactions have dates, but no instants."""
    return {
        **record,
        "amount": Decimal(str(record["amount"])),
        "dated_on": date.fromisoformat(record["dated_on"]),
        "authorized_on": date.fromisoformat(record["authorized_on"]),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], [Path(argument) for argument in sys.argv[5:]])
