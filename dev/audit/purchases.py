"""Account for every row of a file of purchases: `. .local/env && python -m dev.audit.purchases FILE`.

Each row must stand in `core.transactions` or among the rejects, and nothing else may. It shares no code with what it
checks: the file, the tables and the sealed raw batches are read here anew. Ends with exit code 1 if anything differs.
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
    """What a row of the file says that a transaction says again."""

    currency: str
    dated_on: str
    amount: Decimal
    merchant: str


PurchaseCounts: TypeAlias = "Counter[Purchase]"
"""Each with how often it was made: equal rows are different purchases."""

TransactionKey: TypeAlias = tuple[int, str, str]
"""Provider account, account and transaction."""


class AuditError(Exception):
    """Something that the audit reads is not as it must be."""


def read_file(path: Path) -> PurchaseCounts:
    """Return what a published file holds; a row with neither a day nor an amount is no purchase."""
    read = gzip.open if path.suffix == ".gz" else open
    with read(path, "rt", encoding="utf-8", newline="") as file:
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
    """Return every record that a reject points at, as it was sealed; one that was rejected twice counts once."""
    places: dict[tuple[str, str], dict[int, list[tuple[int, str]]]] = {}
    for account, batch, digest, line, path in db.execute(_SELECT_REJECTS):
        places.setdefault((batch, digest), {}).setdefault(line, []).append((account, path))
    found: dict[TransactionKey, Purchase] = {}
    for (batch, digest), lines in places.items():
        for line, body in enumerate(_read_pages(root / batch, digest)):
            page = json.loads(body, parse_float=Decimal) if line in lines else {}
            for account, path in lines.get(line, ()):
                record = _extract_record(page, path)
                found[account, record["account_id"], record["transaction_id"]] = Purchase(
                    record["iso_currency_code"] or record["unofficial_currency_code"],
                    record["date"],
                    Decimal(record["amount"]),
                    record["name"],
                )
    return found


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
        raise AuditError(f"{path} does not hold what was sealed under its name.")


def _extract_record(page: Mapping[str, Any], path: str) -> dict[str, Any]:
    place = _RECORD_PATH.match(path)
    if place is None:
        raise AuditError(f"a reject points at {path!r}, which is no record; look into etl.rejects.")
    record: dict[str, Any] = page[place[1]][int(place[2])]
    return record


def summary_lines(file: PurchaseCounts, loaded: PurchaseCounts, rejected: PurchaseCounts) -> Iterator[str]:
    """Yield a line for each currency: rows and sum of each; sums never cross currencies."""
    yield " ".join(("currency", *(f"{heading:>24}" for heading in _HEADINGS)))
    for currency in sorted({each.currency for each in (*file, *loaded, *rejected)}):
        found = [_count_and_sum(purchases, currency) for purchases in (file, loaded, rejected)]
        difference = tuple(of_file - of_kept - of_refused for of_file, of_kept, of_refused in zip(*found, strict=True))
        cells = (f"{rows:>8,} {amount:>15,.2f}" for rows, amount in (*found, difference))
        yield " ".join((f"{currency:8}", *cells))


def _count_and_sum(purchases: PurchaseCounts, currency: str) -> tuple[int, Decimal]:
    of_currency = [(each.amount, times) for each, times in purchases.items() if each.currency == currency]
    return sum(times for _, times in of_currency), sum((amount * times for amount, times in of_currency), Decimal())


def audit(file: PurchaseCounts, db: psycopg.Connection[Any], root: Path) -> bool:
    """Print what became of the rows of a file, and return whether each is accounted for, and nothing else there."""
    in_tables = read_loaded(db)
    left_out = {key: each for key, each in read_rejected(db, root).items() if key not in in_tables}
    kept, refused = Counter(in_tables.values()), Counter(left_out.values())
    print("\n".join(summary_lines(file, kept, refused)))
    missing, added = file - (kept + refused), (kept + refused) - file
    for what, purchases in (("missing", missing), ("not in the file", added)):
        for each in sorted(purchases)[:_MAX_SHOWN]:
            print(f"{what}: {purchases[each]} of {each.dated_on} {each.amount} {each.currency} {each.merchant!r}")
    counts = {"rows": file.total(), "loaded": kept.total(), "rejected": refused.total()}
    print(f"audit: {json.dumps({**counts, 'missing': missing.total(), 'not_in_file': added.total()})}")
    return not missing and not added


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Audit, and end with exit code 1 if anything differs or cannot be read."""
    if len(arguments) != 1:
        sys.exit("Usage: python -m dev.audit.purchases FILE")
    try:
        url, root = (
            _require_variable(environment, "WAREHOUSE_URL"),
            _local_folder(_require_variable(environment, "SLUICE_RAW_ROOT")),
        )
        with psycopg.connect(url) as db:
            balanced = audit(read_file(Path(arguments[0])), db, root)
    except (AuditError, OSError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if balanced else 1)


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
