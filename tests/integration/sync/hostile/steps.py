"""Runs of entities whose steps are killed, repeated and left undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar
from unittest import mock

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, PLAID, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.chunking import DayRange
from etl.declare.entity import Entity
from etl.errors import RetryAfter, SluiceError
from etl.sync.load import load_pending
from etl.sync.logins import breaker
from etl.sync.plan import plan
from etl.sync.provider import pages
from etl.sync.records.frames import Header
from etl.sync.replay import replay
from etl.sync.report import report
from etl.sync.store.landing import AccountPages
from etl.sync.transform import transform_pending
from tests.integration.sync.pipeline import Pipeline

MAX_ATTEMPTS = 6
"""Attempts of a download that is told to wait, each after a wait that is not waited for."""

WRONG_CLOCKS = 0.25
"""Share of the downloads of a history with crashes that a worker with a wrong clock makes."""

T = TypeVar("T")


class Killed(BaseException):
    """Ends a step in its middle, as the end of its process does."""


@dataclass(frozen=True)
class Entities:
    """The entities, without rate limits and retries, in small chunks and pages."""

    transactions: Entity
    accounts: Entity
    merchants: Entity

    @classmethod
    def of(cls, *, chunk_size: int, page_size: int) -> Entities:
        """Return the declared entities with other sizes."""
        provider = replace(PLAID, retries=0, timeout=timedelta(seconds=20))
        transactions = replace(
            TRANSACTIONS,
            provider=provider,
            source=replace(TRANSACTIONS_SYNC, page_size=page_size, limits=()),
            window=replace(TRANSACTIONS_GET, page_size=page_size, limits=()),
            chunk_size=chunk_size,
        )
        accounts = replace(
            ACCOUNTS, provider=provider, source=replace(ACCOUNTS_GET, limits=()), chunk_size=chunk_size * 2
        )
        return cls(transactions, accounts, MERCHANTS)


@dataclass
class Steps:
    """Runs the steps of all entities.

    Parameters
    ----------
    crash_rate
        Probability that a step is killed, repeated or never continued.
    zombies
        Entity and raw batch of batches that were fetched and not loaded.
    loaded
        Likewise, of those that were loaded.
    errors
        Name of an error → how often a step raised it.
    """

    pipeline: Pipeline
    rng: Random
    crash_rate: float
    zombies: list[tuple[Entity, int]] = field(default_factory=list)
    loaded: list[tuple[Entity, int]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    @property
    def last_run(self) -> str:
        """Id of the last run."""
        return f"run {self.runs}"

    def run(self, entity: Entity, *, days: DayRange | None = None) -> bool:
        """Run an entity, and return whether no step failed or was killed."""
        self.runs += 1
        run_id = self.last_run
        ordinals = self._try(lambda: plan(entity, run_id, db=self.pipeline.db, days=days)) or []
        self.rng.shuffle(ordinals)
        run_chunk = self._run_batches if entity is MERCHANTS else self._run_accounts
        completed = [run_chunk(entity, run_id, ordinal) for ordinal in ordinals]
        is_reported = self._try(lambda: report(entity, run_id, db=self.pipeline.db)) is not None

        def check_logins() -> str:
            breaker.check_logins(entity, run_id, db=self.pipeline.db)
            return run_id

        return all(completed) and is_reported and self._try(check_logins) is not None

    @contextmanager
    def without_crashes(self) -> Iterator[None]:
        """Let no step of the block be killed, repeated or left undone."""
        crash_rate, self.crash_rate = self.crash_rate, 0.0
        yield
        self.crash_rate = crash_rate

    def fetch(self, entity: Entity, *, days: DayRange | None = None) -> None:
        """Fetch the batches of a run without crashes, and load none of them."""
        self.runs += 1
        run_id = self.last_run
        with self.without_crashes():
            for ordinal in self._try(lambda: plan(entity, run_id, db=self.pipeline.db, days=days)) or []:
                raw_id = self._fetch(entity, run_id, ordinal)
                if raw_id is not None:
                    self.zombies.append((entity, raw_id))

    def load(self, entity: Entity, raw_id: int) -> bool:
        """Load a batch, now or late; return whether it was loaded."""
        return self._try(lambda: self._of(entity).load(raw_id)) is not None

    def replay(self, entity: Entity, raw_id: int) -> None:
        """Replay a batch."""
        self._try(lambda: replay(entity, raw_id, db=self.pipeline.db, root=self.pipeline.root))

    def _run_batches(self, entity: Entity, run_id: str, ordinal: int) -> bool:
        db, root = self.pipeline.db, self.pipeline.root
        for _ in range(1 + self._crashes()):
            if self._try(lambda: transform_pending(entity, run_id, ordinal, db=db, root=root)) is None:
                return False
        if self._crashes():
            return False

        def load() -> int:
            load_pending(entity, run_id, ordinal, db=db, root=root)
            return ordinal

        return self._try(load) is not None

    def _run_accounts(self, entity: Entity, run_id: str, ordinal: int) -> bool:
        raw_id = self._fetch(entity, run_id, ordinal)
        if raw_id is None:
            return False
        if self._crashes():
            self.zombies.append((entity, raw_id))
            return False
        is_loaded = self.load(entity, raw_id)
        if self._crashes():
            self.load(entity, raw_id)
        (self.loaded if is_loaded else self.zombies).append((entity, raw_id))
        return is_loaded

    def _fetch(self, entity: Entity, run_id: str, ordinal: int) -> int | None:
        """Download, seal and transform a chunk; None if a step failed or was killed."""
        pipeline = self._of(entity)
        if self._crashes():
            with self._killed_download():
                self._try(lambda: pipeline.download(run_id, ordinal))
        is_wrong = self.crash_rate > 0 and self.rng.random() < WRONG_CLOCKS
        skew = timedelta(days=self.rng.choice((-400, -1, 1, 400))) if is_wrong else timedelta()
        with self._skewed_clock(skew):
            downloaded = self._download(pipeline, run_id, ordinal)
        if self._crashes():
            downloaded = self._download(pipeline, run_id, ordinal)
        if downloaded is None or self._crashes():
            return None
        raw_id = self._try(lambda: pipeline.store_raw(run_id, ordinal))
        if raw_id is None or self._crashes():
            return None
        if self._crashes():
            self._try(lambda: pipeline.transform(raw_id))
        return self._try(lambda: pipeline.transform(raw_id))

    def _download(self, pipeline: Pipeline, run_id: str, ordinal: int) -> int | None:
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._try(lambda: pipeline.download(run_id, ordinal))
            except RetryAfter:
                self.errors["RetryAfter"] += 1
        return None

    @contextmanager
    def _skewed_clock(self, skew: timedelta) -> Iterator[None]:
        """Let the clock of the worker that downloads be wrong."""

        with mock.patch.object(pages, "datetime", wraps=datetime) as clock:
            clock.now.side_effect = lambda zone: datetime.now(zone) + skew
            yield

    @contextmanager
    def _killed_download(self) -> Iterator[None]:
        """Kill what the block downloads after some pages."""
        pages_left = self.rng.randrange(6)
        add = AccountPages.add

        def add_or_die(pages_of_account: AccountPages, header: Header, body: bytes) -> None:
            nonlocal pages_left
            pages_left -= 1
            if pages_left < 0:
                raise Killed
            add(pages_of_account, header, body)

        with mock.patch.object(AccountPages, "add", add_or_die):
            try:
                yield
            except (Killed, RetryAfter):
                self.errors["Killed"] += 1

    def _try(self, step: Callable[[], T]) -> T | None:
        """Return the result of a step; None if it raises an error that a run may end with."""
        try:
            return step()
        except RetryAfter:
            raise
        except SluiceError as error:
            self.errors[type(error).__name__] += 1
            return None

    def _of(self, entity: Entity) -> Pipeline:
        return replace(self.pipeline, entity=entity)

    def _crashes(self) -> bool:
        return self.rng.random() < self.crash_rate
