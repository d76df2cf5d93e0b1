"""A random history of a warehouse and a hostile bank, drawn from a seed, and what it ends in."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from unittest import mock

import httpx

from dev.bank.api import bad_records
from dev.bank.bank import Bank
from dev.bank.faults import Fault, Faults
from dev.bank.hostile import quirks
from dev.bank.hostile.readers import SHORT_HISTORY
from dev.bank.world import tokens
from etl.catalog.providers.plaid import PLAID
from etl.chunking import DayRange
from etl.sync.logins.link import enrol_login
from etl.sync.store import cursors
from tests.integration.sync.hostile import product
from tests.integration.sync.hostile.comparison import Comparison, Difference
from tests.integration.sync.hostile.coverage import (
    CHECKS_UNDER_TEST,
    DELIVERY_FAULTS,
    FAULTS_UNDER_TEST,
    LEDGER_FAULTS,
)
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

Rates = dict[str, float]


@dataclass(frozen=True)
class Scope:
    """Which faults and checks a history has."""

    faults: frozenset[Fault] = FAULTS_UNDER_TEST
    checks: frozenset[str] = CHECKS_UNDER_TEST


@dataclass
class Outcome:
    """What a history ended in."""

    seed: int
    days: int = 0
    runs: int = 0
    faults: frozenset[str] = frozenset()
    errors: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)


def play(seed: int, pipeline: Pipeline, server: OwnBank, *, scope: Scope | None = None) -> Outcome:
    """Play a history in an empty warehouse, and compare what it ends in with what is true at the bank."""
    outcome = Outcome(seed)
    try:
        with _small_sizes():
            history = History(seed, pipeline, server, scope or Scope())
            outcome.errors = history.steps.errors
            history.happen()
            history.recover()
            history.compare(outcome)
            outcome.runs = history.steps.runs
    except Exception as error:  # noqa: BLE001 - whatever ends a history is a difference
        last_lines = " | ".join(traceback.format_exc().strip().splitlines()[-4:])
        outcome.differences.append(Difference("crash", type(error).__name__, last_lines, "no error"))
    outcome.days = (server.bank.today - FIRST_DAY).days
    outcome.faults = frozenset(fault.value for fault in server.bank.faults.struck)
    return outcome


@contextmanager
def _small_sizes() -> Iterator[None]:
    """Let what is large at the bank be large relative to the pages of these histories only."""
    with (
        mock.patch.object(quirks, "LARGE_ACTIVITY", LARGE_ACTIVITY),
        mock.patch.object(bad_records, "EMPTY_RECORDS", EMPTY_RECORDS),
    ):
        yield


class History:
    """A bank, its logins, and a warehouse that reads them."""

    def __init__(self, seed: int, pipeline: Pipeline, server: OwnBank, scope: Scope) -> None:
        self.rng = Random(seed)
        self.pipeline, self.server, self.scope = pipeline, server, scope
        self.entities = Entities.of(chunk_size=self.rng.choice((4, 7, 12)), page_size=self.rng.choice((20, 40, 90)))
        mishaps = self.rng.choice((0.0, 0.05, 0.12))
        self.steps = Steps(pipeline, self.rng, mishaps=mishaps, clocks_differ="clocks" in scope.checks)
        self.ledger_rates = self._draw_rates(LEDGER_FAULTS)
        opened_on = FIRST_DAY - timedelta(days=self.rng.randint(3, 20))
        bank = Bank.from_seed(f"hostile {seed}", opened_on=opened_on, today=FIRST_DAY)
        server.serve(replace(bank, faults=Faults(self.ledger_rates)))
        self.logins: dict[int, int] = {}
        self.replaced: dict[int, int] = {}
        self.honest_since = 0
        self.early_differences: list[Difference] = []
        for number in range(min(self.rng.randint(6, 20), self.rng.randint(6, 20))):
            self._link(number)
        self.set_promise()

    def happen(self) -> None:
        """Let random things happen."""
        acts: list[tuple[Callable[[], None], int]] = [
            (self.run_transactions, 8),
            (self.run_accounts, 3),
            (self.run_merchants, 3),
            (self.advance, 6),
            (self.change_faults, 4),
            (self.fetch, 3),
            (self.load_late, 4),
            (self.replay, 2),
            (self.let_time_pass, 2),
        ]
        if "backfill" in self.scope.checks:
            acts.append((self.backfill, 4))
        if "resync" in self.scope.checks:
            acts.append((self.resync, 5))
        if "relink" in self.scope.checks:
            acts.append((self.relink, 3))
        self.change_faults()
        self.run_transactions()
        for act in self.rng.choices(
            [act for act, _ in acts], [weight for _, weight in acts], k=self.rng.randint(4, 11)
        ):
            act()

    def recover(self) -> None:
        """Stop the faults of delivery, make the runs that are needed, and load once more what came late."""
        (self.honest_since,) = self.pipeline.db.execute(
            "select coalesce(max(raw_id), 0) from etl.raw_batches"
        ).fetchone() or (0,)
        self.advance()
        self._set_rates({})
        if "come back" not in self.scope.checks:
            self._link_stopped()
        cursors.request_full_read(self.pipeline.db, self._misled(), feeds=["transactions_sync"])
        self._run_until_complete()
        for entity, raw_id in self.steps.zombies:
            self.steps.load(entity, raw_id)
        for _ in range(3):
            self.replay()

    def compare(self, outcome: Outcome) -> None:
        """Compare the warehouse with the bank; read logins with ghosts again, which must lay them."""
        comparison = self._comparison()
        comparison.run()
        if comparison.ghosts:
            ghosts = [self.logins[number] for number in comparison.ghosts]
            cursors.request_full_read(self.pipeline.db, ghosts, feeds=["transactions_sync"])
            self._run_until_complete()
            second = self._comparison()
            second.run()
            comparison.differences += [
                Difference("ghost", f"item {number}", "live", "ended by a full read") for number in second.ghosts
            ]
        outcome.rows = comparison.rows
        outcome.differences += self.early_differences + comparison.differences

    def run_transactions(self) -> None:
        self.steps.run(self.entities.transactions)

    def run_accounts(self) -> None:
        self.steps.run(self.entities.accounts)

    def fetch(self) -> None:
        """Fetch batches, to be loaded late or never."""
        self.steps.fetch(
            self.rng.choice((self.entities.transactions, self.entities.transactions, self.entities.accounts))
        )

    def run_merchants(self) -> None:
        self.steps.run(self.entities.merchants)

    def advance(self) -> None:
        """Let days pass at the bank."""
        days = self.rng.choice((1, 1, 2, 4, 7))
        self.server.serve(replace(self.server.bank, today=self.server.bank.today + timedelta(days=days)))
        self.set_promise()

    def change_faults(self) -> None:
        """Draw other faults of delivery."""
        self._set_rates(self._draw_rates(DELIVERY_FAULTS))

    def load_late(self) -> None:
        """Load a batch that was fetched earlier, or one that was loaded before."""
        batches = self.steps.zombies or self.steps.loaded
        if batches:
            self.steps.load(*self.rng.choice(batches))

    def replay(self) -> None:
        """Replay a batch that was loaded, of any age."""
        if self.steps.loaded:
            entity, raw_id = self.rng.choice(self.steps.loaded)
            if entity is self.entities.transactions and self.rng.random() < 0.25:
                entity = self.entities.merchants
            self.steps.replay(entity, raw_id)

    def backfill(self) -> None:
        """Read some past days; if no step fails, every transaction of those days must be there at once."""
        last = self.server.bank.today - timedelta(days=self.rng.randrange(20))
        days = DayRange(last - timedelta(days=self.rng.randrange(1, 15)), last)
        if not self.steps.run(self.entities.transactions, days=days, mishaps=self.rng.random() < FAULT_SHARE):
            return
        left_out = self.pipeline.db.execute(
            "select l.provider_account_id from etl.left_out as l inner join etl.chunks as c using (chunk_id) "
            "where c.run_id = %s",
            [self.steps.last_run],
        ).fetchall()
        for number, account_id in self.logins.items():
            if (account_id,) not in left_out:
                self.early_differences += self._comparison().missing_of(number, days.first, days.last)

    def let_time_pass(self) -> None:
        """Let the waits of logins end."""
        product.let_time_pass(self.pipeline.db)

    def resync(self) -> None:
        """Read the feeds of some logins again from their beginning."""
        logins = [each for each in self.logins.values() if self.rng.random() < 0.6]
        cursors.request_full_read(self.pipeline.db, logins, feeds=["transactions_sync"])
        self.run_transactions()

    def relink(self) -> None:
        """Link a login again as a new item of the same accounts."""
        known = self.pipeline.db.execute("select distinct provider_account_id from core.accounts").fetchall()
        numbers = [number for number, account_id in sorted(self.logins.items()) if (account_id,) in known]
        if not numbers:
            return
        number = self.rng.choice(numbers)
        origin = self.server.bank.changes.origin(number)
        rates = dict(self.server.bank.faults.rates)
        new_number = tokens.MAX_ITEMS - 1 - self.server.bank.changes.linked_again
        self.server.bank.faults.set_rates({**self.ledger_rates, Fault.LINKED_AGAIN.value: 1})
        self.logins[new_number] = self._exchange(origin)
        self.server.bank.faults.set_rates(rates)
        self.replaced[self.logins.pop(number)] = number
        self.set_promise()

    def set_promise(self) -> None:
        """Store how many days of history a full read covers, by the warehouse's clock, which is ahead of the bank's."""
        days = (datetime.now(UTC).date() - self.server.bank.today + SHORT_HISTORY).days
        self.pipeline.db.execute("update core.provider_accounts set history_days = %s", [days])

    def _run_until_complete(self) -> None:
        for _ in range(MAX_ROUNDS):
            product.let_time_pass(self.pipeline.db)
            is_complete = [
                self.steps.run(entity, mishaps=False)
                for entity in (self.entities.accounts, self.entities.transactions, self.entities.merchants)
            ]
            has_decided = self._decide()
            if all(is_complete) and not has_decided:
                return

    def _decide(self) -> bool:
        """Accept quarantines, and decide about rows that full reads lacked; return whether there was anything."""
        entities = {each.name: each for each in (self.entities.transactions, self.entities.accounts)}
        db, root = self.pipeline.db, self.pipeline.root
        has_accepted = product.accept_quarantines(entities, db=db, root=root)
        has_decided = product.decide_reconciliations(
            self._misled(), self.honest_since, entities=entities, db=db, root=root
        )
        return has_accepted or has_decided

    def _misled(self) -> list[int]:
        """Return the logins that the bank has misled."""
        return [self.logins[number] for number in self.server.bank.readers.misled if number in self.logins]

    def _comparison(self) -> Comparison:
        return Comparison(
            self.pipeline.db, self.pipeline.root, self.server.bank, self.logins, self.replaced, self.scope.checks
        )

    def _link(self, number: int) -> None:
        self.logins[number] = self._exchange(number)

    def _link_stopped(self) -> None:
        """Link stopped logins again, as their users do."""
        for number, account_id in list(self.logins.items()):
            ((state,),) = self.pipeline.db.execute(
                "select state from core.provider_accounts where provider_account_id = %s", [account_id]
            ).fetchall()
            if state == "needs_login":
                self._link(number)

    def _exchange(self, number: int) -> int:
        endpoint = self.pipeline.endpoint
        headers = {"PLAID-CLIENT-ID": endpoint.login, "PLAID-SECRET": endpoint.password}
        request = {
            "institution_id": "ins_109508",
            "initial_products": ["transactions"],
            "options": {"override_username": f"user_{number}"},
        }
        answer = httpx.post(
            f"{endpoint.host}/sandbox/public_token/create",
            json=request,
            headers=headers,
            trust_env=False,
            verify=False,
        ).json()
        return enrol_login(
            PLAID,
            answer["public_token"],
            user=str(number),
            db=self.pipeline.db,
            cipher=self.pipeline.cipher,
            endpoint=endpoint,
            limiter=self.pipeline.limiter,
        )

    def _draw_rates(self, highest_rates: dict[Fault, float]) -> Rates:
        # Faults that are left out are drawn, too, so that a seed gives the others the same rates.
        drawn = {
            fault: (self.rng.random() < FAULT_SHARE, round(self.rng.uniform(0.1, 1) * highest, 4))
            for fault, highest in highest_rates.items()
        }
        return {fault.value: rate for fault, (is_on, rate) in drawn.items() if is_on and fault in self.scope.faults}

    def _set_rates(self, delivery_rates: Rates) -> None:
        self.server.bank.faults.set_rates({**self.ledger_rates, **delivery_rates})
