"""Any history of loads, backfills, replays and losses ends in the table that a naive reader would write."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.declare.column import Column
from etl.declare.entity import ColumnType
from etl.sync.store import staging
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.unit.sync.samples import page

IDS = ("1a", "1b", "1c", "2a", "2b")
"""The first character is the login."""
LOGINS = ("1", "2")
ACCOUNTS = ("checking", "savings")
FIRST_DAY, LAST_DAY = "2026-11-18", "2026-11-19"
ALTERNATIVES: Mapping[ColumnType, tuple[object, object]] = {
    ColumnType.TEXT: ("one", "two"),
    ColumnType.MONEY: (11, -7),
    ColumnType.DATE: (FIRST_DAY, LAST_DAY),
    ColumnType.INSTANT: ("2026-11-18T10:00:00Z", "2026-11-19T23:30:00+05:00"),
    ColumnType.BOOLEAN: (False, True),
}
CURRENCIES = ({"iso_currency_code": "USD"}, {"iso_currency_code": "EUR"}, {"unofficial_currency_code": "BTC"})
OPTIONAL = [
    column
    for column in TRANSACTIONS.columns
    if column.name not in (*TRANSACTIONS.key, *TRANSACTIONS.currencies, "account_id", "pending_transaction_id")
]
"""Columns of which any value goes with any of the others."""
NUMBERS = st.integers(0, 3 ** (len(OPTIONAL) + 2) - 1)
HISTORY = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("write", "write", "remove", "post")), st.sampled_from(IDS), NUMBERS),
        st.tuples(
            st.sampled_from(("sync", "fetch", "window", "fetch window")),
            st.sampled_from(("1", "2", "12", "12")),
            st.integers(1, 4),
        ),
        st.tuples(st.sampled_from(("load late", "load again", "replay")), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("resync"), st.sampled_from(LOGINS), st.just(0)),
        st.tuples(st.just("lose"), st.sampled_from(IDS), st.just(0)),
    ),
    max_size=30,
)
WRITE_1 = (("write", "1a", 1), ("sync", "12", 1))
WRITE_2 = (("write", "1a", 2), ("sync", "12", 1))
FETCH_WINDOW = ("fetch window", "12", 1)
RUNS = count()

Record = dict[str, Any]


def make_record(identifier: str, number: int, **fields: object) -> Record:
    """Return a transaction in which each digit of a number, to the base of 3, chooses a value of one column."""
    record: Record = {"transaction_id": identifier, "pending_transaction_id": None}
    number, digit = divmod(number, 3)
    record["account_id"] = ACCOUNTS[digit % 2]
    number, digit = divmod(number, 3)
    record |= CURRENCIES[digit]
    for column in OPTIONAL:
        number, digit = divmod(number, 3)
        values = ALTERNATIVES[column.kind]
        _set(record, column, values[digit % 2] if column.required or digit < 2 else None)
    return {**record, **fields}


def _set(record: Record, column: Column, value: object) -> None:
    *above, name = column.path_parts
    for part in above:
        record = record.setdefault(part, {})
    record[name] = value


def typed(record: Record) -> tuple[object, ...]:
    """Return the values of a record by column, as the database returns them."""
    return tuple(_typed(record, column) for column in TRANSACTIONS.columns)


def _typed(record: Record, column: Column) -> object:
    value: Any = record
    for part in column.path_parts:
        value = value.get(part)
    if value is None:
        return None
    match column.kind:
        case ColumnType.MONEY:
            return Decimal(value)
        case ColumnType.DATE:
            return date.fromisoformat(value)
        case ColumnType.INSTANT:
            return datetime.fromisoformat(value)
    return value


@dataclass
class Bank:
    """A ledger of one login with the current transactions and every change so far.

    It always has a transaction on the first day of each account, so that a full read covers all days and accounts.
    """

    live: dict[str, Record] = field(default_factory=dict)
    changes: list[tuple[str, Record]] = field(default_factory=list)
    posted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for account in ACCOUNTS:
            self.write(f"first of {account}", 0, account_id=account, date=FIRST_DAY)

    def write(self, identifier: str, number: int, **fields: object) -> None:
        if identifier not in self.posted:
            exists = identifier in self.live
            self.live[identifier] = make_record(identifier, number, **fields)
            self.changes.append(("modified" if exists else "added", self.live[identifier]))

    def remove(self, identifier: str) -> None:
        removed = self.live.pop(identifier, None)
        if removed is not None:
            self.changes.append(("removed", {"transaction_id": identifier}))

    def post(self, identifier: str, number: int) -> None:
        if identifier in self.live:
            self.remove(identifier)
            self.posted.add(identifier)
            self.write(f"{identifier} posted", number, pending=False, pending_transaction_id=identifier)

    def pages(self, since: int, size: int) -> Iterator[bytes]:
        """Yield pages of changes; a page names a transaction only once, since its lists apply one after the other."""
        named: dict[object, tuple[str, Record]] = {}
        for kind, record in self.changes[since:]:
            if len(named) == size or record["transaction_id"] in named:
                yield self._page(named.values())
                named = {}
            named[record["transaction_id"]] = (kind, record)
        yield self._page(named.values())

    def _page(self, changes: Collection[tuple[str, Record]]) -> bytes:
        added, modified, removed = (
            [record for kind, record in changes if kind == change] for change in ("added", "modified", "removed")
        )
        return page(added=added, modified=modified, removed=removed)

    def window(self) -> bytes:
        return msgspec.json.encode({"transactions": list(self.live.values()), "total_transactions": len(self.live)})


@dataclass
class Reader:
    """Fetches batches of some logins and loads them, immediately or late, once or repeatedly.

    Parameters
    ----------
    accounts
        Login, as in `LOGINS` → its provider account id.
    """

    pipeline: Pipeline
    accounts: Mapping[str, int]
    banks: dict[str, Bank] = field(default_factory=lambda: {login: Bank() for login in LOGINS})
    fetched: list[int] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    minutes: int = 0

    def fetch(self, logins: str, size: int) -> int:
        cursors = self.read_cursors()
        bodies = {login: list(self.banks[login].pages(int(cursors[login][0] or 0), size)) for login in logins}
        return self._seal(bodies, "transactions_sync", cursors)

    def fetch_window(self, logins: str) -> int:
        return self._seal({login: [self.banks[login].window()] for login in logins}, "transactions_get", {})

    def fetch_whole(self, login: str) -> int:
        bodies = {login: [page(added=list(self.banks[login].live.values()))]}
        return self._seal(bodies, "transactions_sync", self.read_cursors(), whole=True)

    def load(self, raw_id: int) -> None:
        self.pipeline.load(raw_id)
        self.loaded.add(raw_id)

    def lose(self, identifier: str) -> None:
        self.pipeline.db.execute(
            "delete from core.transactions where provider_account_id = %s and transaction_id = %s",
            [self.accounts[identifier[0]], identifier],
        )
        for raw_id in sorted(self.loaded):
            self.pipeline.replay(raw_id)

    def read_cursors(self) -> dict[str, tuple[str, int]]:
        query = "select provider_account_id, value, generation from etl.cursors where provider_account_id = any(%s)"
        rows = self.pipeline.db.execute(query, [list(self.accounts.values())]).fetchall()
        cursors = {account: (value, generation) for account, value, generation in rows}
        return {login: cursors.get(account, ("", 0)) for login, account in self.accounts.items()}

    def _seal(
        self,
        bodies: Mapping[str, list[bytes]],
        source: str,
        cursors: Mapping[str, tuple[str, int]],
        *,
        whole: bool = False,
    ) -> int:
        self.minutes += 1
        self.pipeline.source = source
        return self.pipeline.seal_pages(
            *((self.accounts[login], body) for login, pages in bodies.items() for body in pages),
            run_id=f"run {next(RUNS)}",
            at=FIRST + timedelta(minutes=self.minutes),
            moves={
                self.accounts[login]: f"{cursors[login][0]}>{len(self.banks[login].changes)}" if cursors else ">"
                for login in bodies
            },
            whole=whole,
            generation={self.accounts[login]: cursors[login][1] for login in bodies if cursors},
        )


def act(reader: Reader, action: str, subject: str, number: int) -> None:
    bank = reader.banks[subject[:1] or "1"]
    match action:
        case "write":
            bank.write(subject, number)
        case "remove":
            bank.remove(subject)
        case "post":
            bank.post(subject, number)
        case "sync":
            reader.load(reader.fetch(subject, number))
        case "resync":
            reader.load(reader.fetch_whole(subject))
        case "window":
            reader.load(reader.fetch_window(subject))
        case "fetch":
            reader.fetched.append(reader.fetch(subject, number))
        case "fetch window":
            reader.fetched.append(reader.fetch_window(subject))
        case "load late" | "load again" if reader.fetched:
            reader.load(reader.fetched[number % len(reader.fetched)])
        case "replay" if reader.loaded:
            reader.pipeline.replay(sorted(reader.loaded)[number % len(reader.loaded)])
        case "lose":
            reader.lose(subject)


@pytest.fixture(params=[False, True], ids=["rows looked up by key", "rows read at once"])
def _lookup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Find existing rows by key, or by a read of all rows of the accounts."""
    monkeypatch.setattr(staging, "has_few_existing_rows", lambda *_, **__: request.param)


@pytest.mark.usefixtures("_lookup")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORY)
@example(history=[*WRITE_1, FETCH_WINDOW, *WRITE_2, ("load late", "", 0)])
@example(history=[*WRITE_1, ("write", "1a", 2), FETCH_WINDOW, *WRITE_1, ("load late", "", 0)])
@example(
    history=[*WRITE_1, ("write", "1b", 2), FETCH_WINDOW, ("remove", "1b", 0), ("sync", "12", 1), ("load late", "", 0)]
)
@example(history=[*WRITE_1, ("remove", "1a", 0), ("sync", "12", 1), *WRITE_1])
@example(history=[*WRITE_1, FETCH_WINDOW, *WRITE_2, ("load late", "", 0), ("replay", "", 0), ("lose", "1a", 0)])
@example(history=[*WRITE_1, ("write", "1b", 2), ("sync", "12", 1), ("resync", "1", 0), ("lose", "1a", 0)])
@example(history=[*WRITE_1, ("post", "1a", 3), ("sync", "12", 1), ("load again", "", 0)])
@example(history=[*WRITE_1, *(("write", "1a", 2 * 3**digit) for digit in range(len(OPTIONAL) + 2)), *WRITE_2])
def test_any_interleaving_ends_in_the_table_that_a_naive_reader_would_write(
    pipeline: Pipeline, history: list[tuple[str, str, int]]
) -> None:
    pipeline.db.execute("update core.provider_accounts set state = 'suspended', state_since = now()")
    run = next(RUNS)
    accounts = dict(zip(LOGINS, pipeline.enrol(*(f"login {login} of {run}" for login in LOGINS)), strict=True))
    reader = Reader(pipeline, accounts)
    for action, subject, number in history:
        act(reader, action, subject, number)
    reader.load(reader.fetch("12", 2))
    columns = SQL(", ").join(Identifier(column.name) for column in TRANSACTIONS.columns)
    query = SQL(
        "select {} from core.transactions where provider_account_id = %s and removed_at is null and removed_for is null"
    ).format(columns)
    for login, account in accounts.items():
        stored = pipeline.db.execute(query, [account]).fetchall()
        assert set(stored) == set(map(typed, reader.banks[login].live.values()))
