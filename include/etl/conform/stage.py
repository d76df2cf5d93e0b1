"""The stage of one behaviour: the steps of an entity, run in a scratch database against a bank, and what they left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import TypeVar

import psycopg
import redis
from cryptography.fernet import Fernet
from upath import UPath

from etl.clients.rate_limits import Limiter
from etl.conform import scratch
from etl.conform.banks import PlayedBank
from etl.conform.calls import Call
from etl.conform.reel import Reel
from etl.conform.scratch import Rows, Scratch
from etl.conform.server import Answer, Server
from etl.conform.verdict import NotApplicable
from etl.db import connection as warehouses
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.declare.source import Feed, Snapshot
from etl.errors import SluiceError
from etl.settings import Endpoint
from etl.sync.download import download
from etl.sync.load import load, load_pending
from etl.sync.logins import breaker
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.plan import plan
from etl.sync.provider.enrolment import GrantedItem
from etl.sync.report import report
from etl.sync.store_raw import store_raw
from etl.sync.transform import transform, transform_pending

MAX_TIMEOUT = timedelta(seconds=10)
"""Longest time that a request may take, whatever the provider declares: the bank answers at once."""

MAX_LOGINS = 4
"""Logins that are played at most: one that is disturbed, and neighbours. They are in one chunk."""

_DEATH_PATIENCE = 20.0
"""Seconds in which a step must reach the place of its death."""

T = TypeVar("T")


def unlimited() -> Limiter:
    """Return a limiter for requests without limits, which asks no server."""
    return Limiter(redis.Redis())


def new_cipher() -> TokenCipher:
    """Return a cipher with a key that is forgotten."""
    return TokenCipher([Fernet.generate_key().decode()])


def prepare(entity: Entity, *, page_size: int, retries: int) -> Entity:
    """Return an entity that reads small pages and waits little: without rate limits and quotas, with few retries."""
    source = entity.source
    if not isinstance(source, Feed | Snapshot):
        return entity
    provider = replace(entity.provider, retries=retries, timeout=min(entity.provider.timeout, MAX_TIMEOUT))
    limit = None if isinstance(source, Feed) else max(source.record_limit, page_size)
    return replace(
        entity,
        provider=provider,
        chunk_size=max(entity.chunk_size, MAX_LOGINS),
        source=replace(source, limits=(), quota=None, page_size=page_size, max_records=limit),
    )


@dataclass
class Steps:
    """The steps of a sync.

    Parameters
    ----------
    entity, followers
        What is read from the bank, and what is read from its raw batches.
    db, warehouse
        The scratch database, and its address.
    root, cipher, endpoint
        Raw root, keys, and address of the bank.
    logins
        Provider account of each login.
    errors
        What the steps of all runs raised.
    """

    entity: Entity
    followers: Sequence[Entity]
    db: Connection
    warehouse: Endpoint
    root: UPath
    cipher: TokenCipher
    endpoint: Endpoint
    logins: list[int] = field(default_factory=list)
    errors: list[SluiceError] = field(default_factory=list)
    runs: int = 0
    _limiter: Limiter = field(default_factory=unlimited)

    def enrol(self, items: Sequence[GrantedItem]) -> None:
        """Enrol logins, as `sluice link` does with tokens that are granted already."""
        source = self.entity.source
        history = source.history if isinstance(source, Feed) else None
        for number, item in enumerate(items):
            login = provider_accounts.enrol(
                self.db,
                self.cipher,
                provider=self.entity.provider.name,
                user=f"conform-{number}",
                item_id=item.item_id,
                access_token=item.access_token,
                history_days=history.days if history else None,
            )
            consent = self.entity.provider.consent
            provider_accounts.set_consent(self.db, login, lifetime=consent.lifetime if consent else None)
            self.logins.append(login)

    @property
    def run_id(self) -> str:
        """The latest run."""
        return f"conform {self.runs}"

    def run(self) -> None:
        """Run all steps; an error that a run may end with is kept, and the other chunks go on."""
        for ordinal in self.plan():
            self.try_step(partial(self._load_chunk, ordinal))
        self.finish()

    def plan(self) -> list[int]:
        """Begin a run, and return its chunks."""
        self.runs += 1
        return plan(self.entity, self.run_id, db=self.db)

    def fetch(self, ordinal: int) -> int:
        """Download, seal and transform a chunk, and return its raw batch."""
        self.download(ordinal)
        return self.transform(self.store_raw(ordinal))

    def _load_chunk(self, ordinal: int) -> None:
        self.load(self.fetch(ordinal))

    def finish(self) -> None:
        """Report the run, and run the entities that read its raw batches."""
        self.try_step(lambda: report(self.entity, self.run_id, db=self.db))
        self.try_step(lambda: breaker.check_logins(self.entity, self.run_id, db=self.db))
        for follower in self.followers:
            for ordinal in plan(follower, self.run_id, db=self.db):
                transform_pending(follower, self.run_id, ordinal, db=self.db, root=self.root)
                self.try_step(partial(load_pending, follower, self.run_id, ordinal, db=self.db, root=self.root))

    def download(self, ordinal: int, *, db: Connection | None = None) -> int:
        """Download a chunk."""
        return download(
            self.entity,
            self.run_id,
            ordinal,
            db=db or self.db,
            root=self.root,
            cipher=self.cipher,
            endpoint=self.endpoint,
            limiter=self._limiter,
        )

    def store_raw(self, ordinal: int, *, db: Connection | None = None) -> int:
        """Seal a chunk."""
        return store_raw(self.entity, self.run_id, ordinal, db=db or self.db, root=self.root)

    def transform(self, raw_id: int, *, db: Connection | None = None) -> int:
        """Transform a raw batch."""
        return transform(self.entity, raw_id, db=db or self.db, root=self.root)

    def load(self, raw_id: int, *, db: Connection | None = None) -> object:
        """Load a typed batch."""
        return load(self.entity, raw_id, db=db or self.db, root=self.root)

    def try_step(self, step: Callable[[], object]) -> None:
        """Run a step, and keep the error that it may raise."""
        try:
            step()
        except SluiceError as error:
            self.errors.append(error)

    @contextmanager
    def dying(self) -> Iterator[Connection]:
        """Yield a connection for a step that is killed before it ends.

        Raises
        ------
        NotApplicable
            If the step ends before.
        """
        try:
            with warehouses.connect(self.warehouse, application=scratch.VICTIM_APPLICATION) as db:
                yield db
        except psycopg.OperationalError:
            return
        raise NotApplicable("the step ended before it could be killed, since it had nothing to write")

    def kill(self, step: Callable[[Connection], object], *, at: str) -> None:
        """Run a step, and kill it when it is about to write to a table.

        Raises
        ------
        NotApplicable
            If it never does.
        """
        failures: list[Exception] = []

        def run() -> None:
            try:
                with self.dying() as db:
                    step(db)
            except Exception as error:  # noqa: BLE001 - raised in the thread that waits for this one
                failures.append(error)

        thread = threading.Thread(target=run)
        with warehouses.connect(self.warehouse) as holder, warehouses.connect(self.warehouse) as killer:
            with holder.transaction():
                scratch.lock(holder, at)
                thread.start()
                deadline = monotonic() + _DEATH_PATIENCE
                while thread.is_alive() and not scratch.is_step_waiting(killer) and monotonic() < deadline:
                    sleep(0.005)
                scratch.kill_step(killer)
            thread.join()
        if failures:
            raise failures[0]


@dataclass(frozen=True)
class Tables:
    """What a scratch database holds.

    Parameters
    ----------
    rows
        Live rows of each entity.
    cursors
        Cursor of each login.
    rejects
        Open rejects.
    """

    rows: dict[str, Rows]
    cursors: dict[int, str]
    rejects: list[tuple[str, int, str, str]]


def read_tables(steps: Steps) -> Tables:
    """Return what the scratch database of some steps holds."""
    entities = (steps.entity, *steps.followers)
    cursors = scratch.cursors_of(steps.db, steps.entity.feed_name) if steps.entity.feed_name else {}
    rows = {entity.name: scratch.rows_of(steps.db, entity) for entity in entities}
    return Tables(rows, cursors, scratch.rejects_of(steps.db))


@contextmanager
def open_steps(
    databases: Scratch,
    entity: Entity,
    followers: Sequence[Entity],
    respond: Callable[[Call], Answer],
    *,
    path: str = "",
) -> Iterator[Steps]:
    """Yield the steps of an entity in an empty scratch database, against a bank behind a server of its own.

    Parameters
    ----------
    path
        Path of the base URL.
    """
    with (
        Server(respond) as server,
        databases.database() as warehouse,
        TemporaryDirectory(prefix="sluice-conform-", ignore_cleanup_errors=True) as folder,
        warehouses.connect(warehouse) as db,
    ):
        endpoint = Endpoint(server.origin + path, login="conform-client", password="conform-secret")  # noqa: S106
        yield Steps(entity, followers, db, warehouse, UPath(f"file://{folder}"), new_cipher(), endpoint)


@contextmanager
def open_played(
    databases: Scratch, entity: Entity, followers: Sequence[Entity], reel: Reel, *, retries: int = 0
) -> Iterator[tuple[Steps, PlayedBank]]:
    """Yield the steps of an entity against a bank that plays a reel, with its logins enrolled."""
    prepared = prepare(entity, page_size=reel.page_size, retries=retries)
    source = prepared.source
    if not isinstance(source, Feed | Snapshot):
        raise NotApplicable("it is read from the raw batches of another entity")
    bank = PlayedBank(prepared, source, reel)
    with open_steps(databases, prepared, followers, bank.respond) as steps:
        steps.enrol(bank.items(steps.endpoint.host))
        yield steps, bank
