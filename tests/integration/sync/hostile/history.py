"""A random history of a warehouse and a hostile bank, drawn from a seed, and what it ends in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from unittest import mock

from dev.bank.api import bad_records
from dev.bank.bank import Bank
from dev.bank.faults import Fault, Faults
from dev.bank.hostile import quirks
from dev.bank.hostile.readers import SHORT_HISTORY
from dev.bank.world import tokens
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.chunking import DayRange
from etl.sync.store import cursors
from tests.integration.sync.hostile import product
from tests.integration.sync.hostile.comparison import Comparison, Difference
from tests.integration.sync.hostile.corrections import CorrectedRow
from tests.integration.sync.hostile.coverage import ALL_FAULTS, DELIVERY_FAULTS, LEDGER_FAULTS, leading_faults
from tests.integration.sync.hostile.steps import Entities, Steps
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline

FIRST_DAY = date(2022, 12, 15)
"""The bank's day when a history begins: currencies of that time end while it goes on."""

MAX_ROUNDS = 5
"""Runs of all entities after which everything must be loaded, once the faults have stopped."""

LARGE_ACTIVITY = 4
EMPTY_RECORDS = 20_000
FAULT_SHARE = 0.5
"""Share of the faults that are on at a time."""

OLD_RECORDS = (Fault.OLD_LOAN, Fault.ANCIENT_RECORD)
"""Faults that nobody can tell from a complete read, where the bank promises more than it sends."""

CERTAIN_ACTS = ("backfill", "resync")
"""Acts that every history has at least once, since some faults strike nowhere else."""

LATE_SHARE = 0.7
"""Share of the overtaken batches that are loaded at once, and not at the end of the history."""

WINDOW_SHARE = 0.4
"""Share of the batches of transactions fetched to be loaded late that are of a window."""

Rates = dict[str, float]


@dataclass
class Outcome:
    """What a history ended in.

    Parameters
    ----------
    struck
        How often each fault struck.
    acts
        How often each act was played.
    """

    seed: int
    days: int
    runs: int
    rows: int
    struck: Counter[Fault]
    acts: Counter[str]
    differences: list[Difference]


def play(seed: int, pipeline: Pipeline, server: OwnBank) -> Outcome:
    """Play a history in an empty warehouse, and compare what it ends in with what is true at the bank."""
    with _small_sizes():
        history = History(seed, pipeline, server)
        history.happen()
        history.recover()
        struck = Counter(server.bank.faults.struck)
        comparison = history.compare()
    return Outcome(
        seed,
        (server.bank.today - FIRST_DAY).days,
        history.steps.runs,
        comparison.rows,
        struck,
        history.acts,
        history.differences + comparison.differences,
    )


def missing_coverage(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the faults that never struck in some histories, and the acts that were never played."""
    struck = {fault for outcome in outcomes for fault in +outcome.struck}
    acts = {name for outcome in outcomes for name in +outcome.acts}
    return [*sorted(fault.value for fault in ALL_FAULTS - struck), *sorted(ACTS.keys() - acts)]


@contextmanager
def _small_sizes() -> Iterator[None]:
    """Let what is large at the bank be large relative to the pages of these histories only."""
    with (
        mock.patch.object(quirks, "LARGE_ACTIVITY", LARGE_ACTIVITY),
        mock.patch.object(bad_records, "EMPTY_RECORDS", EMPTY_RECORDS),
    ):
        yield


ACTS: dict[str, int] = {
    "run_transactions": 8,
    "run_accounts": 3,
    "run_merchants": 3,
    "advance": 8,
    "change_faults": 4,
    "fetch": 3,
    "load_late": 4,
    "replay": 2,
    "overtake": 4,
    "let_time_pass": 2,
    "backfill": 4,
    "resync": 5,
    "relink": 6,
    "correct": 4,
}
"""What happens in a history: method → weight."""


class History:
    """A bank, its logins, and a warehouse that reads them.

    Parameters
    ----------
    promise
        How far back the bank promises a full read to go: as far as it does at least, or much farther.
    logins
        Item number → provider account id, of the logins that are synced.
    replaced
        Provider account id → item number, of those that were linked again as other items.
    corrected
        What users corrected, each with the number of the item, oldest first.
    last_faulty_batch
        Id of the last raw batch that was read while the bank gave faulty answers.
    differences
        What differed before the end.
    """

    def __init__(self, seed: int, pipeline: Pipeline, server: OwnBank) -> None:
        self.seed, self.rng = seed, Random(seed)
        self.pipeline, self.server = pipeline, server
        self.entities = Entities.of(chunk_size=self.rng.choice((5, 10, 20)), page_size=self.rng.choice((10, 40, 90)))
        self.steps = Steps(pipeline, self.rng, crash_rate=self.rng.choice((0.0, 0.05, 0.12)))
        promised = self.rng.choice((SHORT_HISTORY, TRANSACTIONS_SYNC.history or SHORT_HISTORY))
        leads_old_records = any(fault in leading_faults(seed) for fault in OLD_RECORDS)
        self.promise = SHORT_HISTORY if leads_old_records else promised
        self.ledger_rates = self._draw_rates(LEDGER_FAULTS)
        opened_on = FIRST_DAY - timedelta(days=self.rng.randint(1, 10))
        bank = Bank.from_seed(f"hostile {seed}", opened_on=opened_on, today=FIRST_DAY)
        server.serve(replace(bank, faults=Faults(self.ledger_rates)))
        self.logins: dict[int, int] = {}
        self.replaced: dict[int, int] = {}
        self.corrected: list[tuple[int, CorrectedRow]] = []
        self.last_faulty_batch = 0
        self.acts: Counter[str] = Counter()
        self.differences: list[Difference] = []
        for number in range(min(self.rng.randint(6, 20) for _ in range(3))):
            self.logins[number] = self._link(number)
        self.set_promise()

    def happen(self) -> None:
        """Let random things happen."""
        acts: dict[str, Callable[[], bool]] = {name: getattr(self, name) for name in ACTS}
        self.change_faults()
        self.run_transactions()
        drawn = [*CERTAIN_ACTS, *self.rng.choices(list(ACTS), list(ACTS.values()), k=self.rng.randint(2, 6))]
        for name in self.rng.sample(drawn, len(drawn)):
            self.acts[name] += acts[name]()
        self.differences += self._comparison().loaded_of_spoiled(FIRST_DAY)

    def recover(self) -> None:
        """Stop the faults of delivery, make the runs that are needed, and load once more what came late."""
        ((self.last_faulty_batch,),) = self.pipeline.db.execute(
            "select coalesce(max(raw_id), 0) from etl.raw_batches"
        ).fetchall()
        self.advance()
        self._set_rates({})
        cursors.request_full_read(self.pipeline.db, self._misled(), feeds=["transactions_sync"])
        with self.steps.without_crashes():
            self._run_until_complete()
        for entity, raw_id in self.steps.zombies:
            self.steps.load(entity, raw_id)
        for _ in range(2):
            self.replay()

    def compare(self) -> Comparison:
        """Compare the warehouse with the bank."""
        comparison = self._comparison()
        comparison.run()
        return comparison

    def run_transactions(self) -> bool:
        """Run the Dag of transactions."""
        self.steps.run(self.entities.transactions)
        return True

    def run_accounts(self) -> bool:
        """Run the Dag of accounts."""
        self.steps.run(self.entities.accounts)
        return True

    def run_merchants(self) -> bool:
        """Run the Dag of merchants."""
        self.steps.run(self.entities.merchants)
        return True

    def fetch(self) -> bool:
        """Fetch batches of a feed, a window or a snapshot, to be loaded late or never."""
        entity = self.rng.choice((self.entities.transactions, self.entities.transactions, self.entities.accounts))
        is_window = entity is self.entities.transactions and self.rng.random() < WINDOW_SHARE
        self.steps.fetch(entity, days=self._draw_days() if is_window else None)
        return True

    def advance(self) -> bool:
        """Let days pass at the bank."""
        days = self.rng.choice((1, 1, 2, 4, 7))
        self.server.serve(replace(self.server.bank, today=self.server.bank.today + timedelta(days=days)))
        self.set_promise()
        return True

    def change_faults(self) -> bool:
        """Draw other faults of delivery."""
        self._set_rates(self._draw_rates(DELIVERY_FAULTS))
        return True

    def load_late(self) -> bool:
        """Load a batch that was fetched earlier, or one that was loaded before."""
        batches = self.steps.zombies or self.steps.loaded
        if batches:
            self.steps.load(*self.rng.choice(batches))
        return bool(batches)

    def overtake(self) -> bool:
        """Fetch batches and load later ones of the same logins; load the first then, or at the end of the history.

        By then, a cursor may have its value of the beginning again, and the first batch may lead to the value of a
        cursor that was never loaded.
        """
        known = len(self.steps.zombies)
        self.steps.fetch(self.entities.transactions)
        self.steps.fetch(self.entities.accounts)
        overtaken = self.steps.zombies[known:]
        for _ in range(2):
            self.advance()
            self.run_transactions()
        self.run_accounts()
        self.advance()
        self.steps.fetch(self.entities.transactions)
        if self.rng.random() < LATE_SHARE:
            for entity, raw_id in overtaken:
                self.steps.load(entity, raw_id)
        return bool(overtaken)

    def replay(self) -> bool:
        """Replay a batch that was loaded, of any age."""
        if self.steps.loaded:
            entity, raw_id = self.rng.choice(self.steps.loaded)
            if entity is self.entities.transactions and self.rng.random() < 0.25:
                entity = self.entities.merchants
            self.steps.replay(entity, raw_id)
        return bool(self.steps.loaded)

    def backfill(self) -> bool:
        """Read some past days; if no step fails, every transaction of those days must be there at once."""
        days = self._draw_days()
        active = self._query("select provider_account_id from core.provider_accounts where state = 'active'")
        with nullcontext() if self.rng.random() < FAULT_SHARE else self.steps.without_crashes():
            is_complete = self.steps.run(self.entities.transactions, days=days)
        left_out = self._query(
            "select l.provider_account_id from etl.left_out as l inner join etl.chunks as c using (chunk_id) "
            "where c.run_id = %s",
            self.steps.last_run,
        )
        if is_complete:
            read = [number for number, account_id in self.logins.items() if account_id in active - left_out]
            self.differences += [each for number in read for each in self._comparison().missing_of(number, days)]
        return True

    def let_time_pass(self) -> bool:
        """Let the waits of logins end."""
        product.end_waits_of_logins(self.pipeline.db)
        return True

    def resync(self) -> bool:
        """Read on, so that the bank knows its reader, and then the feeds of some logins again from their beginning."""
        self.run_transactions()
        logins = [each for each in self.logins.values() if self.rng.random() < 0.6]
        cursors.request_full_read(self.pipeline.db, logins, feeds=["transactions_sync"])
        self.run_transactions()
        return bool(logins)

    def relink(self) -> bool:
        """Correct transactions of a login, and link it again as a new item of the same accounts.

        Warehouse and bank must know all accounts then: others cannot be matched.
        """
        self.run_accounts()
        known = self.pipeline.db.execute("select provider_account_id, account_id from core.accounts").fetchall()
        numbers = [
            number
            for number, account_id in sorted(self.logins.items())
            if all((account_id, each.account_id) in known for each in self.server.bank.ledger(number).item.accounts)
        ]
        if not numbers:
            return False
        number = self.rng.choice(numbers)
        for _ in range(2):
            self._correct([self.logins[number]])
        origin = self.server.bank.changes.origin(number)
        rates = dict(self.server.bank.faults.rates)
        new_number = tokens.MAX_ITEMS - 1 - self.server.bank.changes.linked_again
        self.server.bank.faults.set_rates(
            {**self.ledger_rates, Fault.LINKED_AGAIN.value: 1, Fault.VANISHING_ACCOUNT.value: 0}
        )
        self.logins[new_number] = self._link(origin)
        self.server.bank.faults.set_rates(rates)
        self.replaced[self.logins.pop(number)] = number
        self.set_promise()
        return True

    def correct(self) -> bool:
        """Correct a field of a transaction."""
        return self._correct([*self.logins.values(), *self.replaced])

    def set_promise(self) -> None:
        """Store how many days of history the bank promised, by the warehouse's clock, which is ahead of the bank's."""
        days = (datetime.now(UTC).date() - self.server.bank.today + self.promise).days
        self.pipeline.db.execute("update core.provider_accounts set history_days = %s", [days])

    def _run_until_complete(self) -> None:
        """Run all entities until nothing is left to load or to decide; what is left then is a difference."""
        entities = {each.name: each for each in (self.entities.accounts, self.entities.transactions)}
        db, root = self.pipeline.db, self.pipeline.root
        for _ in range(MAX_ROUNDS):
            product.end_waits_of_logins(db)
            failed = [name for name, entity in entities.items() if not self.steps.run(entity)]
            product.accept_quarantines(entities, db=db, root=root)
            product.decide_reconciliations(self._misled(), self.last_faulty_batch, entities=entities, db=db, root=root)
            left = [*failed, *product.find_unfinished(db)]
            if not left:
                break
        if not self.steps.run(self.entities.merchants):
            left.append(self.entities.merchants.name)
        if left:
            self.differences.append(Difference("incomplete", f"after {MAX_ROUNDS} rounds", left, "nothing"))

    def _correct(self, logins: Collection[int]) -> bool:
        """Correct a field of a transaction of some provider accounts; return whether they have one."""
        corrected = product.correct_transaction(self.pipeline.db, self.rng, logins, ordinal=len(self.corrected))
        if corrected is not None:
            numbers = {account_id: number for number, account_id in self.logins.items()} | self.replaced
            self.corrected.append((numbers[corrected.provider_account_id], corrected))
        return corrected is not None

    def _link(self, number: int) -> int:
        """Link an item, and return the provider account id of the new login."""
        token = self.server.create_public_token(number)
        return product.link(self.pipeline, token, user=str(number), accounts=self.entities.accounts)

    def _misled(self) -> list[int]:
        """Return the logins that the bank has misled."""
        return [self.logins[number] for number in self.server.bank.readers.misled if number in self.logins]

    def _comparison(self) -> Comparison:
        return Comparison(
            self.pipeline.db, self.pipeline.root, self.server.bank, self.logins, self.replaced, self.corrected
        )

    def _query(self, query: str, *values: object) -> set[int]:
        return {value for (value,) in self.pipeline.db.execute(query.encode(), values or None).fetchall()}

    def _draw_days(self) -> DayRange:
        """Draw some past days."""
        last = self.server.bank.today - timedelta(days=self.rng.randrange(20))
        return DayRange(last - timedelta(days=self.rng.randrange(1, 15)), last)

    def _draw_rates(self, highest_rates: dict[Fault, float]) -> Rates:
        rates = {
            fault: round(self.rng.uniform(0.1, 1) * highest, 4)
            for fault, highest in highest_rates.items()
            if self.rng.random() < FAULT_SHARE
        }
        rates |= {fault: rate for fault, rate in highest_rates.items() if fault in leading_faults(self.seed)}
        excluded = () if self.promise == SHORT_HISTORY else OLD_RECORDS
        return {fault.value: rate for fault, rate in rates.items() if fault not in excluded}

    def _set_rates(self, delivery_rates: Rates) -> None:
        self.server.bank.faults.set_rates({**self.ledger_rates, **delivery_rates})
