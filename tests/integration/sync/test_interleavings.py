"""Any history of loads, backfills, replays and losses ends in the table that a naive reader would write."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from etl.sync.store import staging
from tests.integration.sync.pipeline import FIRST, Pipeline
from tests.unit.sync.samples import page, transaction

IDS = ("a", "b", "c", "d")
HISTORY = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("write", "remove", "post")), st.sampled_from(IDS), st.integers(-9, 9)),
        st.tuples(st.sampled_from(("sync", "fetch", "window", "fetch window")), st.just(""), st.integers(1, 4)),
        st.tuples(st.sampled_from(("load late", "load again", "replay")), st.just(""), st.integers(0, 5)),
        st.tuples(st.just("resync"), st.just(""), st.just(0)),
        st.tuples(st.just("lose"), st.sampled_from(IDS), st.just(0)),
    ),
    max_size=30,
)
WRITE_1 = (("write", "a", 1), ("sync", "", 1))
WRITE_2 = (("write", "a", 2), ("sync", "", 1))
FETCH_WINDOW = ("fetch window", "", 1)
RUNS = count()


@dataclass
class Bank:
    """A ledger with the current transactions and every change so far."""

    live: dict[str, dict[str, object]] = field(default_factory=dict)
    changes: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def write(self, identifier: str, amount: int, **fields: object) -> None:
        exists = identifier in self.live
        variant = {"account_id": f"account {amount % 3}", "pending": amount < 0, "name": f"NAME {amount % 2}"}
        self.live[identifier] = transaction(**{"transaction_id": identifier, "amount": amount, **variant, **fields})
        self.changes.append(("modified" if exists else "added", self.live[identifier]))

    def remove(self, identifier: str) -> None:
        removed = self.live.pop(identifier, None)
        if removed is not None:
            self.changes.append(("removed", {"transaction_id": identifier}))

    def post(self, identifier: str, amount: int) -> None:
        if identifier in self.live:
            self.remove(identifier)
            self.write(f"{identifier} posted", amount, pending_transaction_id=identifier, pending=False)

    def pages(self, since: int, size: int) -> Iterator[bytes]:
        """Yield pages of changes; a page names a transaction only once, since its lists apply one after the other."""
        named: dict[object, tuple[str, dict[str, object]]] = {}
        for kind, record in self.changes[since:]:
            if len(named) == size or record["transaction_id"] in named:
                yield self._page(named.values())
                named = {}
            named[record["transaction_id"]] = (kind, record)
        yield self._page(named.values())

    def _page(self, changes: Collection[tuple[str, dict[str, object]]]) -> bytes:
        added, modified, removed = (
            [record for kind, record in changes if kind == change] for change in ("added", "modified", "removed")
        )
        return page(added=added, modified=modified, removed=removed)

    def window(self) -> bytes:
        return msgspec.json.encode({"transactions": list(self.live.values()), "total_transactions": len(self.live)})


@dataclass
class Reader:
    """Fetches batches of one account and loads them, immediately or late, once or repeatedly."""

    pipeline: Pipeline
    account: int
    bank: Bank = field(default_factory=Bank)
    cursor: str = ""
    fetched: list[int] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    minutes: int = 0

    def fetch(self, size: int) -> int:
        bodies = list(self.bank.pages(int(self.cursor or 0), size))
        return self._seal(bodies, "transactions_sync", f"{self.cursor}>{len(self.bank.changes)}")

    def fetch_window(self) -> int:
        return self._seal([self.bank.window()], "transactions_get", ">")

    def fetch_whole(self) -> int:
        moves = f"{self.cursor}>{len(self.bank.changes)}"
        return self._seal([page(added=list(self.bank.live.values()))], "transactions_sync", moves, whole=True)

    def load(self, raw_id: int) -> None:
        self.pipeline.load(raw_id)
        self.loaded.add(raw_id)
        self.read_cursor()

    def replay(self, raw_id: int) -> None:
        self.pipeline.replay(raw_id)
        self.read_cursor()

    def lose(self, identifier: str) -> None:
        self.pipeline.db.execute(
            "delete from core.transactions where provider_account_id = %s and transaction_id = %s",
            [self.account, identifier],
        )
        for raw_id in sorted(self.loaded):
            self.replay(raw_id)

    def read_cursor(self) -> None:
        query = "select value from etl.cursors where provider_account_id = %s"
        ((self.cursor,),) = self.pipeline.db.execute(query, [self.account]).fetchall()

    def _seal(self, bodies: list[bytes], source: str, moves: str, *, whole: bool = False) -> int:
        self.minutes += 1
        self.pipeline.source = source
        at = FIRST + timedelta(minutes=self.minutes)
        pages = [(self.account, body) for body in bodies]
        return self.pipeline.seal_pages(*pages, run_id=f"run {next(RUNS)}", at=at, moves=moves, whole=whole)


def act(reader: Reader, action: str, identifier: str, number: int) -> None:
    match action:
        case "write":
            reader.bank.write(identifier, number)
        case "remove":
            reader.bank.remove(identifier)
        case "post":
            reader.bank.post(identifier, number)
        case "sync":
            reader.load(reader.fetch(number))
        case "resync" if reader.bank.live:
            reader.load(reader.fetch_whole())
        case "window":
            reader.load(reader.fetch_window())
        case "fetch":
            reader.fetched.append(reader.fetch(number))
        case "fetch window":
            reader.fetched.append(reader.fetch_window())
        case "load late" | "load again" if reader.fetched:
            reader.load(reader.fetched[number % len(reader.fetched)])
        case "replay" if reader.loaded:
            reader.replay(sorted(reader.loaded)[number % len(reader.loaded)])
        case "lose":
            reader.lose(identifier)


@pytest.fixture(params=[False, True], ids=["rows looked up by key", "rows read at once"])
def _lookup(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Find existing rows by key, or by a read of all rows of the accounts."""
    monkeypatch.setattr(staging, "has_few_existing_rows", lambda *_, **__: request.param)


@pytest.mark.usefixtures("_lookup")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=HISTORY)
@example(history=[*WRITE_1, FETCH_WINDOW, *WRITE_2, ("load late", "", 0)])
@example(history=[*WRITE_1, ("write", "a", 2), FETCH_WINDOW, *WRITE_1, ("load late", "", 0)])
@example(history=[*WRITE_1, ("write", "b", 2), FETCH_WINDOW, ("remove", "b", 0), ("sync", "", 1), ("load late", "", 0)])
@example(history=[*WRITE_1, ("remove", "a", 0), ("sync", "", 1), *WRITE_1])
@example(history=[*WRITE_1, FETCH_WINDOW, *WRITE_2, ("load late", "", 0), ("replay", "", 0), ("lose", "a", 0)])
@example(history=[*WRITE_1, ("write", "b", 2), ("sync", "", 1), ("resync", "", 0), ("lose", "a", 0)])
@example(history=[*WRITE_1, ("post", "a", 3), ("sync", "", 1), ("load again", "", 0)])
def test_any_interleaving_ends_in_the_table_that_a_naive_reader_would_write(
    pipeline: Pipeline, history: list[tuple[str, str, int]]
) -> None:
    pipeline.db.execute("update core.provider_accounts set state = 'suspended', state_since = now()")
    (account,) = pipeline.enrol(f"account {next(RUNS)}")
    reader = Reader(pipeline, account)
    for action, identifier, number in history:
        act(reader, action, identifier, number)
    reader.load(reader.fetch(2))
    names = ("transaction_id", "account_id", "amount", "pending", "pending_transaction_id", "name")
    stored = pipeline.db.execute(
        "select transaction_id, account_id, amount::int, pending, pending_transaction_id, description "
        "from core.transactions where provider_account_id = %s and removed_at is null",
        [account],
    ).fetchall()
    assert set(stored) == {tuple(record[name] for name in names) for record in reader.bank.live.values()}
    ends = "select transaction_id from core.transactions where removed_for is null <> (removed_at is null)"
    assert pipeline.db.execute(ends).fetchall() == []
