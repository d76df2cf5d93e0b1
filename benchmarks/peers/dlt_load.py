"""Loads the transactions of a file into Postgres with dlt, in an environment of its own.

    python dlt_load.py PAGES VARIANT TABLE URL REFERENCES…

Prints the seconds of a pipeline run and the number of rows, as JSON. Nothing of Sluice is imported. A page is decoded
by orjson or, where dlt is tuned, by msgspec into the types of the columns. dlt receives only the columns of the core
table, with declared types, so that it does not process values that are not stored. dlt's documentation recommends
`merge` with the strategy `upsert` and a primary key to update changed records. That creates no key in the database; if
TABLE is `keyed`, the table gets the key, indexes and references of Sluice's table before the measurement starts.
REFERENCES are the migrations that create the functions of the triggers by which Sluice checks references.
"""

from __future__ import annotations

import gc
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
import msgspec
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
_ADVISED = {"NORMALIZE__WORKERS": "2", "DATA_WRITER__FILE_MAX_ITEMS": str(_FILE_RECORDS)}
# Arrow tables are passed on as Parquet files, which takes no time that a second process would save.
_TUNED = {"NORMALIZE__WORKERS": "1", "DATA_WRITER__FILE_MAX_ITEMS": str(_FILE_RECORDS)}
_OPTIONS = {"insert_values": {}, "csv": _ADVISED, "arrow": _ADVISED, "tuned": _TUNED}
"""Variant → its settings."""
_FORMATS = {"insert_values": None, "csv": "csv", "arrow": "csv", "tuned": "parquet"}
"""Variant → format of dlt's files; None is its default. `arrow` and `tuned` pass Arrow tables to dlt, the others dicts.
dlt copies Parquet into Postgres by ADBC, in binary."""
_FIELDS = {
    "currency": "iso_currency_code",
    "unofficial_currency": "unofficial_currency_code",
    "dated_on": "date",
    "dated_at": "datetime",
    "authorized_on": "authorized_date",
    "authorized_at": "authorized_datetime",
    "description": "name",
}
"""Column → field of a record, where their names differ."""


class _Category(msgspec.Struct, gc=False):
    primary: str | None = None
    detailed: str | None = None


class _Record(msgspec.Struct, gc=False, rename=_FIELDS):
    account_id: str
    transaction_id: str
    amount: Decimal
    dated_on: date
    pending: bool
    description: str
    currency: str | None = None
    unofficial_currency: str | None = None
    dated_at: datetime | None = None
    authorized_on: date | None = None
    authorized_at: datetime | None = None
    pending_transaction_id: str | None = None
    merchant_name: str | None = None
    merchant_entity_id: str | None = None
    payment_channel: str | None = None
    personal_finance_category: _Category | None = None


class _Page(msgspec.Struct, gc=False):
    added: list[_Record]


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
        os.environ.update(_SETTINGS | _OPTIONS[variant])
        pipeline = dlt.pipeline("benchmark", pipelines_dir=folder, destination=dlt.destinations.postgres(url))
        if table == "keyed":
            first = next(_read(pages, variant))
            pipeline.run(_resource(first.slice(0, 1) if isinstance(first, pa.Table) else first[:1]))
            with pipeline.sql_client() as client:
                client.execute_sql("create schema core")
                for migration in references:
                    client.execute_sql(migration.read_text())
                client.execute_sql(_KEYED)
        records = _resource(_read(pages, variant))
        if variant == "tuned":
            gc.freeze()
            gc.set_threshold(200_000, 50, 50)
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


def _read(pages: Path, variant: str) -> Iterator[Any]:
    match variant:
        case "arrow":
            return _tables(pages)
        case "tuned":
            return _typed_tables(pages)
        case _:
            return _records(pages)


def _typed_tables(pages: Path) -> Iterator[pa.Table]:
    """Yield the records as `_tables` does, page by page in columns."""
    decoder = msgspec.json.Decoder(_Page)
    batches: list[pa.RecordBatch] = []
    with pages.open("rb") as file:
        for line in file:
            account, _, page = line.partition(b"\t")
            batches.append(_typed_columns(int(account), decoder.decode(page).added))
            if sum(batch.num_rows for batch in batches) >= _FILE_RECORDS:
                yield pa.Table.from_batches(batches).combine_chunks()
                batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _typed_columns(account: int, records: Sequence[_Record]) -> pa.RecordBatch:
    categories = [record.personal_finance_category or _Category() for record in records]
    values: dict[str, list[Any]] = {
        "provider_account_id": [account] * len(records),
        "category": [category.primary for category in categories],
        "category_detail": [category.detailed for category in categories],
        "observed_at": [_OBSERVED_AT] * len(records),
        "raw_id": [1] * len(records),
    }
    for name in _TYPES.keys() - values.keys():
        values[name] = [getattr(record, name) for record in records]
    schema = pa.schema([(name, kind) for name, (_, kind) in _TYPES.items()])
    return pa.RecordBatch.from_arrays([pa.array(values[each.name], each.type) for each in schema], schema=schema)


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
    names = _TYPES.keys() - {"provider_account_id", "category", "category_detail", "observed_at", "raw_id"}
    return {
        **{name: record[_FIELDS.get(name, name)] for name in names},
        "provider_account_id": account,
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
