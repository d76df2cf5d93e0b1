"""Full reads of a login whose rows have every fate, and what such a read proves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count
from typing import Any, Literal

import msgspec

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.sync.store import reconciliations
from etl.sync.store.reconciliations import Reconciliation
from tests.integration.sync.pipeline import FIRST, LATER, Pipeline
from tests.unit.sync.samples import page, transaction

READ_ON = LATER.date()
RUNS = count()
Fate = Literal["sent", "absent", "rejected", "held", "posted", "seen later"]


@dataclass(frozen=True)
class Row:
    """A live row, and what becomes of it in the full read."""

    account_id: str
    age: int
    fate: Fate

    @property
    def dated_on(self) -> date:
        return READ_ON - timedelta(days=self.age)


@dataclass(frozen=True)
class Case:
    """A login with its rows, and a full read with what else it brings."""

    rows: tuple[Row, ...]
    outliers: tuple[tuple[str, date], ...]
    has_nameless_reject: bool
    promise: int | None

    def record(self, number: int, **changes: object) -> dict[str, object]:
        row = self.rows[number]
        return transaction(
            transaction_id=f"t{number}",
            account_id=row.account_id,
            date=str(row.dated_on),
            pending=row.fate in ("held", "posted"),
            **changes,
        )

    def first_page(self) -> bytes:
        return page(added=[self.record(number) for number in range(len(self.rows))])

    def window(self) -> bytes:
        records = [self.record(number, name="SEEN LATER") for number in self.with_fate("seen later")]
        return msgspec.json.encode({"transactions": records, "total_transactions": len(records)})

    def full_read(self) -> bytes:
        sent = [self.record(number) for number in self.with_fate("sent")]
        sent += [self.record(number, iso_currency_code="???") for number in self.with_fate("rejected")]
        for fate, currency in (("held", "???"), ("posted", "USD")):
            sent += [
                transaction(
                    transaction_id=f"p{number}",
                    account_id=self.rows[number].account_id,
                    date=str(self.rows[number].dated_on),
                    pending_transaction_id=f"t{number}",
                    iso_currency_code=currency,
                )
                for number in self.with_fate(fate)
            ]
        sent += [
            transaction(transaction_id=f"o{number}", account_id=account_id, date=str(day))
            for number, (account_id, day) in enumerate(self.outliers)
        ]
        if self.has_nameless_reject:
            sent.append(transaction(transaction_id=None))
        return page(added=sent)

    def with_fate(self, fate: str) -> list[int]:
        return [number for number, row in enumerate(self.rows) if row.fate == fate]

    def oldest_sent(self) -> dict[str, date]:
        """Return the oldest day that the read has of each account."""
        days = [(row.account_id, row.dated_on) for row in self.rows if row.fate in ("sent", "posted")]
        oldest: dict[str, date] = {}
        for account_id, day in [*days, *self.outliers]:
            oldest[account_id] = min(day, oldest.get(account_id, day))
        return oldest

    def absent(self) -> set[str]:
        """Return the rows that the read proves to be gone."""
        oldest = self.oldest_sent()
        if self.promise is None or self.has_nameless_reject or not oldest:
            return set()
        return {
            f"t{number}"
            for number, row in enumerate(self.rows)
            if row.fate == "absent"
            and row.age <= self.promise
            and row.account_id in oldest
            and row.dated_on >= oldest[row.account_id]
        }

    def must_wait(self) -> bool:
        live = len(self.rows) + len(self.outliers)
        return len(self.absent()) > 5 and len(self.absent()) * 10 > live

    def is_said(self) -> bool:
        """Return whether something was not reconciled that a person should know of."""
        oldest = self.oldest_sent()
        if self.promise is None or self.has_nameless_reject or not oldest:
            return True
        return any(
            row.fate == "held"
            or (
                row.age <= self.promise
                and (
                    row.fate == "rejected"
                    or (
                        row.fate == "absent" and (row.account_id not in oldest or row.dated_on < oldest[row.account_id])
                    )
                )
            )
            for row in self.rows
        )


FEW = tuple(Row("a", age, "absent") for age in (1, 30, 89, 90, 400))
MANY = (*FEW, Row("a", 729, "absent"))
SENT = Row("a", 730, "sent")
OLD = tuple(Row("a", 1_500, "absent") for _ in range(24))


@dataclass
class Login:
    """A login whose feed is read in full, in one batch with another login."""

    pipeline: Pipeline
    case: Case
    account: int
    other: int
    batches: list[int]

    def load(self, *pages: tuple[int, bytes], hours: int, moves: str, source: str = "transactions_sync") -> int:
        runner = replace(self.pipeline, source=source)
        raw_id = runner.seal_pages(
            *pages,
            run_id=f"run {next(RUNS)}",
            at=FIRST + timedelta(hours=hours),
            moves=moves,
            whole={self.account} if moves == "a>b" else False,
        )
        runner.load(raw_id)
        self.batches.append(raw_id)
        return raw_id

    def states(self, columns: str = "transaction_id, removed_for") -> dict[str, Any]:
        query = f"select {columns} from core.transactions where provider_account_id = %s order by transaction_id"
        return {row[0]: row[1:] for row in self.pipeline.db.execute(query.encode(), [self.account]).fetchall()}

    def reconciliation(self) -> Reconciliation:
        (found,) = [
            each
            for each in reconciliations.latest(self.pipeline.db, limit=1_000)
            if each.provider_account_id == self.account
        ]
        return found

    def decide(self, decision: Callable[..., list[Reconciliation]]) -> None:
        decision(
            [self.account],
            entities={TRANSACTIONS.name: self.pipeline.entity},
            db=self.pipeline.db,
            root=self.pipeline.root,
        )


def load_login(pipeline: Pipeline, case: Case) -> Login:
    """Load a login whose full read is to follow, beside another one that is read from its cursor."""
    pipeline.db.execute("update core.provider_accounts set state = 'suspended', state_since = now()")
    account, other = pipeline.enrol(f"one {next(RUNS)}", f"two {next(RUNS)}")
    pipeline.db.execute(
        "update core.provider_accounts set history_days = %s where provider_account_id = %s", [case.promise, account]
    )
    login = Login(pipeline, case, account, other, [])
    login.load((account, case.first_page()), (other, case.first_page()), hours=0, moves=">a")
    if case.with_fate("seen later"):
        login.load((account, case.window()), hours=2, moves=">", source="transactions_get")
    return login


ALL = "transaction_id, to_jsonb(transactions)"


def case_of(*rows: Row) -> Case:
    return Case((*rows, SENT), (), has_nameless_reject=False, promise=730)


def read_in_full(pipeline: Pipeline, case: Case) -> Login:
    login = load_login(pipeline, case)
    login.load((login.account, case.full_read()), hours=1, moves="a>b")
    return login


def live(login: Login) -> set[str]:
    return {key for key, (removed_for,) in login.states().items() if removed_for is None}
