"""Comparison of a warehouse with what is true at the bank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import msgspec
from psycopg.rows import dict_row
from upath import UPath

from dev.bank.bank import Bank
from dev.bank.truth import login, merchants
from dev.bank.truth.login import POSTED, KnownLedger, LoginTruth, TransactionTruth
from dev.bank.truth.merchants import MerchantTruth
from dev.bank.truth.rows import Row
from etl.chunking import DayRange
from etl.db.connection import Connection
from etl.json_text import DECODE_ERRORS, repair_unicode
from etl.sync.store import raw_batches
from tests.integration.sync.hostile.corrections import CorrectedRow, ExpectedCorrections
from tests.integration.sync.hostile.replaced import EarlierRow, find_counted_twice

BALANCES = frozenset({"balance_current", "balance_available", "balance_limit", "balance_as_of"})
MANY_BAD_RECORDS = 40
"""Bad records of a login of which nobody could say that they are a few."""
HELD = "(removed_at is null or removed_for = 'replaced')"
"""Condition of the rows of an earlier login that are compared with those of the login that replaces it."""
RECORD_LISTS = {
    "transactions_sync": ("transactions", ("added", "modified", "removed")),
    "transactions_get": ("transactions", ("transactions",)),
    "accounts_get": ("accounts", ("accounts",)),
}
"""Source → entity that reads it, and lists of its pages."""


@dataclass(frozen=True)
class Difference:
    """Something that the warehouse holds, and the bank does not, or the other way round."""

    kind: str
    subject: str
    found: object
    expected: object

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.kind}: {self.subject}: found {self.found}, expected {self.expected}"


@dataclass
class Comparison:
    """Compares a warehouse with the bank.

    Parameters
    ----------
    logins
        Item number → provider account id, of the logins that are synced.
    replaced
        Provider account id → item number, of those that were linked again as other items.
    corrected
        What users corrected, each with the number of the item, oldest first.
    differences
        What differed.
    rows
        Number of rows compared.
    """

    db: Connection
    root: UPath
    bank: Bank
    logins: Mapping[int, int]
    replaced: Mapping[int, int]
    corrected: Sequence[tuple[int, CorrectedRow]]
    differences: list[Difference] = field(default_factory=list)
    rows: int = 0
    _ledgers: dict[int, KnownLedger] = field(default_factory=dict)

    def run(self) -> None:
        """Compare everything."""
        self._ledgers = {number: KnownLedger.read(self.bank, number) for number in self.logins}
        truths = {number: login.of_login(self.bank, ledger) for number, ledger in self._ledgers.items()}
        for number, truth in truths.items():
            account_id = self.logins[number]
            self._compare_transactions(account_id, truth)
            self._compare_accounts(account_id, truth)
            self._compare_state(account_id, number)
            self._compare_cursor(account_id, number)
        named = merchants.of_ledgers(self.bank, self._ledgers.values())
        self._compare_merchants(named)
        self._compare_replaced(truths)
        self._compare_rejects(truths, named)
        self._compare_counts()
        self._compare_corrections()

    def missing_of(self, number: int, days: DayRange) -> list[Difference]:
        """Return the posted transactions of some days of a login that the warehouse lacks.

        Pending ones come from the feed alone.
        """
        truth = login.of_login(self.bank, KnownLedger.read(self.bank, number))
        account_id = self.logins[number]
        query = "select transaction_id from core.transactions where provider_account_id = %s and removed_at is null"
        stored = {row["transaction_id"] for row in self._query(query, account_id)}
        return [
            Difference("missing of window", f"{account_id}/{identity}", None, each.row)
            for identity, each in truth.transactions.items()
            if each.is_live
            and each.row
            and not each.row["pending"]
            and isinstance(dated := each.row["dated_on"], date)
            and days.first <= dated <= days.last
            and identity not in stored
        ]

    def loaded_of_spoiled(self, first_day: date) -> list[Difference]:
        """Return the logins that were loaded before anybody accepted them, although most of their records are bad.

        Parameters
        ----------
        first_day
            The bank's first day in this history; every first read of a feed contains what the bank had then.
        """
        loaded = {
            row["provider_account_id"]: row["total"]
            for row in self._query(
                "select t.provider_account_id, count(*) as total from core.transactions as t "
                "inner join etl.raw_batches as r using (raw_id) where r.source = 'transactions_sync' group by 1"
            )
        }
        counts = {
            number: login.count_bad(self.bank, KnownLedger.read(self.bank, number), on=first_day)
            for number, account_id in self.logins.items()
            if account_id in loaded
        }
        return [
            Difference(
                "not quarantined", f"item {number}", f"{loaded[self.logins[number]]} rows", f"{bad} of {total} bad"
            )
            for number, (bad, total) in counts.items()
            if bad > MANY_BAD_RECORDS and bad > total / 2
        ]

    def _compare_transactions(self, account_id: int, truth: LoginTruth) -> None:
        stored = {
            row["transaction_id"]: row
            for row in self._query(
                "select * from core.transactions where provider_account_id = %s",
                account_id,
            )
        }
        self.rows += len(stored)
        for identity in stored.keys() - truth.transactions.keys() - truth.unreal_ids:
            self._add("unknown transaction", account_id, identity, stored[identity], None)
        for identity, expected in truth.transactions.items():
            row = stored.get(identity)
            if expected.is_live and expected.row is not None:
                self._compare_live(account_id, identity, row, expected.row)
            elif expected.is_live:
                self._compare_rejected(account_id, identity, row, expected)
            elif row is not None:
                posted = truth.transactions.get(expected.posted_id or "")
                is_held = posted is not None and posted.must_be_rejected and expected.posted_id not in stored
                self._compare_ended(account_id, identity, row, expected, is_held=is_held)

    def _compare_live(self, account_id: int, identity: str, row: Row | None, expected: Row) -> None:
        if row is None:
            self._add("missing transaction", account_id, identity, None, expected)
        elif row["removed_at"] is not None:
            self._add("ended transaction", account_id, identity, row["removed_for"], "live")
        else:
            self._compare_columns("transaction", account_id, identity, row, expected)
            if row["outdated_at"] is not None:
                self._add("outdated transaction", account_id, identity, row["outdated_at"], None)

    def _compare_rejected(self, account_id: int, identity: str, row: Row | None, expected: TransactionTruth) -> None:
        """Compare a transaction whose record of today, or whose posted one, cannot be loaded."""
        if row is None:
            return
        if row["removed_at"] is not None:
            self._add("ended by a reject", account_id, identity, row["removed_for"], "live")
        elif not any(_differing(row, each) == [] for each in expected.earlier_rows):
            self._add("rejected version", account_id, identity, row, expected.earlier_rows)
        elif expected.must_be_rejected and row["outdated_at"] is None:
            self._add("not outdated", account_id, identity, None, "a time")

    def _compare_ended(
        self, account_id: int, identity: str, row: Row, expected: TransactionTruth, *, is_held: bool
    ) -> None:
        """Compare a transaction that the bank has no more; it is held as long as its posted one cannot be loaded."""
        endings = expected.endings - POSTED if is_held else expected.endings
        if row["removed_at"] is not None:
            if row["removed_for"] not in endings:
                self._add("ending", account_id, identity, row["removed_for"], sorted(endings))
        elif not is_held and not expected.may_stay:
            self._add("not ended", account_id, identity, "live", sorted(endings))
        elif is_held and row["outdated_at"] is None:
            self._add("not outdated", account_id, identity, None, "a time")

    def _compare_accounts(self, account_id: int, truth: LoginTruth) -> None:
        stored = {
            row["account_id"]: row
            for row in self._query("select * from core.accounts where provider_account_id = %s", account_id)
        }
        self.rows += len(stored)
        for identity in stored.keys() - truth.accounts.keys():
            self._add("unknown account", account_id, identity, stored[identity], None)
        for identity, expected in truth.accounts.items():
            row = stored.get(identity)
            is_current = expected.is_listed and expected.is_loadable
            if row is None:
                if is_current:
                    self._add("missing account", account_id, identity, None, expected.row)
                continue
            columns = expected.row.keys() if is_current else expected.row.keys() - BALANCES
            self._compare_columns("account", account_id, identity, row, {name: expected.row[name] for name in columns})
            if (row["closed_on"] is None) != expected.is_listed:
                self._add("closed account", account_id, identity, row["closed_on"], f"listed: {expected.is_listed}")

    def _compare_merchants(self, truths: Mapping[str, MerchantTruth]) -> None:
        stored = {row["entity_id"]: row for row in self._query("select * from core.merchants")}
        self.rows += len(stored)
        for identity, truth in truths.items():
            row = stored.get(identity)
            if row is None:
                if truth.must_exist:
                    self._add("missing merchant", 0, identity, None, truth.rows)
            elif truth.must_exist:
                differing = min((_differing(row, each) for each in truth.rows), key=len)
                if differing:
                    found = {name: row[name] for name in differing}
                    self._add("merchant", 0, identity, found, truth.rows)

    def _compare_state(self, account_id: int, number: int) -> None:
        ((state, reason),) = self.db.execute(
            "select state, state_reason from core.provider_accounts where provider_account_id = %s", [account_id]
        ).fetchall()
        if state != "active":
            self._add("state", account_id, f"item {number}", (state, reason), "active")

    def _compare_cursor(self, account_id: int, number: int) -> None:
        values = self.db.execute(
            "select value from etl.cursors where provider_account_id = %s and feed = 'transactions_sync'", [account_id]
        ).fetchall()
        if not values or not login.is_at_end(self.bank, self._ledgers[number], values[0][0]):
            self._add("cursor", account_id, f"item {number}", values, "the end of the feed")

    def _compare_replaced(self, truths: Mapping[int, LoginTruth]) -> None:
        """Compare the logins that were linked again: no money of theirs counts that the new one knows."""
        changes = self.bank.changes
        current = {changes.origin(number): number for number in self.logins}
        for account_id, number in self.replaced.items():
            ((state,),) = self.db.execute(
                "select state from core.provider_accounts where provider_account_id = %s", [account_id]
            ).fetchall()
            if state != "replaced":
                self._add("state", account_id, f"item {number}", state, "replaced")
            new_number = current[changes.origin(number)]
            ledger, new_ledger = KnownLedger.read(self.bank, number), self._ledgers[new_number]
            twins, truth = login.twins(ledger, new_ledger), truths[new_number].transactions
            rows = [
                EarlierRow(**row, twin=truth.get(twins.get(row["transaction_id"], "")))
                for row in self._query(
                    "select transaction_id, account_id, dated_on, amount, pending, removed_at is null as is_live "
                    f"from core.transactions where provider_account_id = %s and {HELD}",
                    account_id,
                )
            ]
            days = {
                each.account_id: self._days_of(self.logins[new_number], new.account_id)
                for each, new in zip(ledger.item.accounts, new_ledger.item.accounts, strict=True)
            }
            new_id = self.logins[new_number]
            promised_on, has_rejects = self._promised_on(new_id), self._has_rejects(new_id)
            for identity in find_counted_twice(rows, days, promised_on, has_rejects=has_rejects):
                self._add("counted twice", account_id, identity, "live", f"only {twins[identity]}")

    def _days_of(self, account_id: int, identity: str) -> set[date]:
        """Return the days on which a login has rows of an account."""
        query = "select dated_on from core.transactions where provider_account_id = %s and account_id = %s"
        return {row["dated_on"] for row in self._query(f"{query} and removed_at is null", account_id, identity)}

    def _has_rejects(self, account_id: int) -> bool:
        query = "select 1 from etl.rejects where provider_account_id = %s and entity = 'transactions'"
        return any(True for _ in self._query(f"{query} and closed_at is null", account_id))

    def _promised_on(self, account_id: int) -> date:
        """Return the first day of the history that the provider promised to a login."""
        query = (
            "select (enrolled_at at time zone 'utc')::date - history_days as promised_on "
            "from core.provider_accounts where provider_account_id = %s"
        )
        (row,) = self._query(query, account_id)
        promised_on: date = row["promised_on"]
        return promised_on

    def _compare_rejects(self, truths: Mapping[int, LoginTruth], named: Mapping[str, MerchantTruth]) -> None:
        """Compare the open rejects with the records that cannot be loaded."""
        by_account = {self.logins[number]: truth for number, truth in truths.items()}
        found: set[tuple[int, str]] = set()
        for row in self._query("select * from etl.rejects where closed_at is null"):
            if row["entity"] == "merchants":
                merchant = named.get(row["record_id"])
                if merchant is None or not merchant.is_in_bad_record:
                    self._add("open reject", row["provider_account_id"], row["record_id"], row["reason"], None)
                continue
            truth = by_account.get(row["provider_account_id"])
            if truth is None or str(row["record_id"]).startswith("sha256:"):
                continue
            if row["entity"] == "transactions":
                found.add((row["provider_account_id"], row["record_id"]))
            if not _explains(truth, row["entity"], row["record_id"]):
                self._add("open reject", row["provider_account_id"], row["record_id"], row["reason"], None)
        for account_id, truth in by_account.items():
            for identity, expected in truth.transactions.items():
                if expected.must_be_rejected and (account_id, identity) not in found:
                    self._add("missing reject", account_id, identity, None, "an open reject")

    def _compare_counts(self) -> None:
        """Compare the counts of each load with the records of its raw batch."""
        for row in self._query("select raw_id, entity, version, read from etl.loads where entity <> 'merchants'"):
            batch = raw_batches.find(self.db, row["raw_id"])
            entity, names = RECORD_LISTS[batch.source]
            records = sum(
                len(page[name])
                for _, body in raw_batches.read(self.root, batch)
                for page in [_decode(body)]
                for name in names
            )
            if (entity, records) != (row["entity"], row["read"]):
                self._add("count", 0, f"raw batch {row['raw_id']}", row["read"], records)

    def _compare_corrections(self) -> None:
        """Compare what reports show with what users corrected."""
        numbers = {account_id: number for number, account_id in self.logins.items()} | dict(self.replaced)
        current = {self.bank.changes.origin(number): number for number in self.logins}
        held = self._query(
            "select provider_account_id, transaction_id from core.transactions "
            f"where provider_account_id = any(%s) and {HELD}",
            list(self.replaced),
        )
        expected = ExpectedCorrections(
            self.bank,
            {number: current[self.bank.changes.origin(number)] for number in self.replaced.values()},
            {(self.replaced[row["provider_account_id"]], row["transaction_id"]) for row in held},
        )
        for number, corrected in self.corrected:
            expected.add(number, corrected)
        for row in self._query("select * from core.effective_transactions"):
            values = expected.values.get((numbers[row["provider_account_id"]], row["transaction_id"]), {})
            for name in _differing(row, values):
                self._add(
                    f"corrected {name}", row["provider_account_id"], row["transaction_id"], row[name], values[name]
                )
        for row in self._query("select * from core.corrections"):
            origins = {
                self.bank.changes.origin(number)
                for number, corrected in self.corrected
                if row[corrected.field] == corrected.value
            }
            if self.bank.changes.origin(numbers[row["provider_account_id"]]) not in origins:
                self._add("corrected of another", row["provider_account_id"], row["transaction_id"], row, None)

    def _compare_columns(self, kind: str, account_id: int, identity: str, row: Row, expected: Row) -> None:
        for name in _differing(row, expected):
            self._add(f"{kind}.{name}", account_id, identity, row[name], expected[name])

    def _add(self, kind: str, account_id: object, identity: str, found: object, expected: object) -> None:
        self.differences.append(Difference(kind, f"{account_id}/{identity}", found, expected))

    def _query(self, query: str, *values: object) -> Iterator[dict[str, Any]]:
        with self.db.cursor(row_factory=dict_row) as cursor:
            yield from cursor.execute(query.encode(), values or None).fetchall()


def _differing(row: Mapping[str, object], expected: Mapping[str, object]) -> list[str]:
    """Return the names of the columns that differ."""
    return [name for name, value in expected.items() if row[name] != value]


def _explains(truth: LoginTruth, entity: str, record_id: str) -> bool:
    """Return whether a record may be an open reject."""
    if entity == "accounts":
        account = truth.accounts.get(record_id)
        return account is not None and not (account.is_listed and account.is_loadable)
    transaction = truth.transactions.get(record_id)
    if transaction is None:
        return record_id in truth.unreal_ids
    return transaction.must_be_rejected or (not transaction.is_live and transaction.was_rejected)


def _decode(body: bytes) -> dict[str, list[object]]:
    try:
        page: dict[str, list[object]] = msgspec.json.decode(body)
    except DECODE_ERRORS:
        page = msgspec.json.decode(repair_unicode(body))
    return page
