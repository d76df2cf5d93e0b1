"""Account for every row of a file of purchases: `. .local/env && python -m dev.audit.purchases FILE`.

Each row must be in `core.transactions` or among the rejects, and nothing else may be there. The audit shares no code
with what it checks: it has its own readers of the file, the tables and the sealed raw batches. It ends with exit code 1
if anything differs.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import psycopg
import zstandard

_OPTIONS = "-c lock_timeout=1min -c idle_in_transaction_session_timeout=10min"
"""It reads all tables in one transaction, and must not hold up a migration while nobody watches it."""
_SELECT_LOADED = """
select
    t.provider_account_id,
    t.account_id,
    t.transaction_id,
    coalesce(t.currency, t.unofficial_currency),
    t.dated_on::text,
    t.amount,
    t.description
from core.transactions as t
"""
_SELECT_REJECTS = """
select distinct r.provider_account_id, b.path, b.content_hash, r.line, r.path
from etl.rejects as r
join etl.raw_batches as b using (raw_id)
where r.entity = 'transactions'
"""
_RECORD_PATH = re.compile(r"(\w+)\[(\d+)\]")
_HEADINGS = ("file", "loaded", "rejected", "difference")
_MAX_SHOWN = 10


class Purchase(NamedTuple):
    """The values of a row of the file that its transaction must repeat."""

    currency: str
    dated_on: str
    amount: Decimal
    merchant: str


PurchaseCounts: TypeAlias = "Counter[Purchase]"
"""Purchase → number of its rows; equal rows are different purchases."""

TransactionKey: TypeAlias = tuple[int, str, str]
"""Ids of provider account, account and transaction."""


class AuditError(Exception):
    """A setting or an input of the audit is missing or invalid."""


def read_file(path: Path) -> PurchaseCounts:
    """Return the purchases in a published file; rows with neither a day nor an amount are skipped."""
    open_file = gzip.open if path.suffix == ".gz" else open
    with open_file(path, "rt", encoding="utf-8", newline="") as file:
        return Counter(
            Purchase(
                row["ORIGINAL CUR"].strip() or row["BILLING CUR CODE"].strip() or "GBP",
                row["TRANS DATE"][:10],
                Decimal(row["ORIGINAL GROSS AMT"]),
                row["MERCHANT NAME"].strip(),
            )
            for row in csv.DictReader(file)
            if row["TRANS DATE"].strip() or row["ORIGINAL GROSS AMT"].strip()
        )


def read_loaded(db: psycopg.Connection[Any]) -> dict[TransactionKey, Purchase]:
    """Return every row of `core.transactions`."""
    return {(row[0], row[1], row[2]): Purchase(*row[3:]) for row in db.execute(_SELECT_LOADED)}


def read_rejected(db: psycopg.Connection[Any], root: Path) -> dict[TransactionKey, Purchase]:
    """Return every rejected record as it is in its raw batch; a record that was rejected twice occurs once."""
    rejects: dict[tuple[str, str], dict[int, list[tuple[int, str]]]] = {}
    for account, batch, digest, line, path in db.execute(_SELECT_REJECTS):
        rejects.setdefault((batch, digest), {}).setdefault(line, []).append((account, path))
    purchases: dict[TransactionKey, Purchase] = {}
    for (batch, digest), lines in rejects.items():
        for line, body in enumerate(_read_pages(root / batch, digest)):
            page = json.loads(body, parse_float=Decimal) if line in lines else {}
            for account, path in lines.get(line, ()):
                record = _extract_record(page, path)
                purchases[account, record["account_id"], record["transaction_id"]] = Purchase(
                    record["iso_currency_code"] or record["unofficial_currency_code"],
                    record["date"],
                    Decimal(record["amount"]),
                    record["name"],
                )
    return purchases


def _read_pages(path: Path, digest: str) -> Iterator[bytes]:
    """Yield the pages of a raw batch: a line of JSON with the page's size, as many bytes, and a line break."""
    content = hashlib.sha256()
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as decompressed:
        stream = io.BufferedReader(cast("io.RawIOBase", decompressed))
        while header := stream.readline():
            body = stream.read(json.loads(header)["size"] + 1)
            content.update(header + body)
            yield body[:-1]
    if content.hexdigest() != digest:
        raise AuditError(f"{path} does not match the hash with which it was sealed.")


def _extract_record(page: Mapping[str, Any], path: str) -> dict[str, Any]:
    match = _RECORD_PATH.match(path)
    if match is None:
        raise AuditError(f"a reject has the path {path!r}, which is not that of a record; inspect etl.rejects.")
    record: dict[str, Any] = page[match[1]][int(match[2])]
    return record


def summary_lines(file: PurchaseCounts, loaded: PurchaseCounts, rejected: PurchaseCounts) -> Iterator[str]:
    """Yield a heading and a line for each currency: rows and sum of each heading; currencies are never added up."""
    yield " ".join(("currency", *(f"{heading:>24}" for heading in _HEADINGS)))
    for currency in sorted({each.currency for each in (*file, *loaded, *rejected)}):
        totals = [_count_and_sum(purchases, currency) for purchases in (file, loaded, rejected)]
        difference = tuple(
            in_file - in_loaded - in_rejected for in_file, in_loaded, in_rejected in zip(*totals, strict=True)
        )
        cells = (f"{rows:>8,} {amount:>15,.2f}" for rows, amount in (*totals, difference))
        yield " ".join((f"{currency:8}", *cells))


def _count_and_sum(purchases: PurchaseCounts, currency: str) -> tuple[int, Decimal]:
    of_currency = [(each.amount, times) for each, times in purchases.items() if each.currency == currency]
    return sum(times for _, times in of_currency), sum((amount * times for amount, times in of_currency), Decimal())


def audit(file: PurchaseCounts, db: psycopg.Connection[Any], root: Path) -> bool:
    """Compare a file with the tables, print the result, and return whether they agree."""
    loaded_by_key = read_loaded(db)
    rejected_by_key = {key: each for key, each in read_rejected(db, root).items() if key not in loaded_by_key}
    loaded, rejected = Counter(loaded_by_key.values()), Counter(rejected_by_key.values())
    print("\n".join(summary_lines(file, loaded, rejected)))
    missing, unexpected = file - (loaded + rejected), (loaded + rejected) - file
    for label, purchases in (("missing", missing), ("not in the file", unexpected)):
        for each in sorted(purchases)[:_MAX_SHOWN]:
            print(f"{label}: {purchases[each]} of {each.dated_on} {each.amount} {each.currency} {each.merchant!r}")
    counts = {"rows": file.total(), "loaded": loaded.total(), "rejected": rejected.total()}
    print(f"audit: {json.dumps({**counts, 'missing': missing.total(), 'not_in_file': unexpected.total()})}")
    return not missing and not unexpected


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run the audit, and end with exit code 1 if anything differs or cannot be read."""
    if len(arguments) != 1:
        sys.exit("Usage: python -m dev.audit.purchases FILE")
    try:
        url, root = (
            _require_variable(environment, "WAREHOUSE_URL"),
            _local_folder(_require_variable(environment, "SLUICE_RAW_ROOT")),
        )
        with psycopg.connect(url, options=_OPTIONS) as db:
            is_equal = audit(read_file(Path(arguments[0])), db, root)
    except (AuditError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if is_equal else 1)


def _require_variable(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise AuditError(f"{name} is not set; run `. .local/env` first.")
    return environment[name]


def _local_folder(root: str) -> Path:
    parts = urlsplit(root)
    if parts.scheme != "file":
        raise AuditError(f"SLUICE_RAW_ROOT is on {parts.scheme}://, and only file:// can be audited.")
    return Path(unquote(parts.path))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
