"""Raw batches of typical chunks: fifty logins each, with a thousand generated transactions per login."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from upath import UPath

from benchmarks.support import batches, databases, plaid_pages
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import TRANSACTIONS_SYNC
from etl.db import migrations
from etl.db.connection import Connection, connect
from etl.settings import Endpoint

LOGINS_OF_A_CHUNK = 50
TRANSACTIONS_OF_A_LOGIN = 1_000
TRANSACTIONS_OF_A_MERCHANT = 20

_RECEIVED_AT = datetime(2026, 11, 20, tzinfo=UTC)


def pages(size: int, *, is_lean: bool = False) -> batches.Pages:
    """Return a function from a login's number to its pages; all logins together have `size` transactions."""
    merchants = max(size // TRANSACTIONS_OF_A_MERCHANT, 1)
    return partial(plaid_pages.feed, records=TRANSACTIONS_OF_A_LOGIN, merchants=merchants, is_lean=is_lean)


@contextmanager
def template_database(
    server: Endpoint, root: UPath, size: int, *, logins_of_a_chunk: int = LOGINS_OF_A_CHUNK, is_lean: bool = False
) -> Iterator[Sequence[int]]:
    """Create a template database with `size` transactions in sealed raw batches, none loaded; yield the batch ids."""
    with databases.temporary(server, databases.TEMPLATE) as template:
        with connect(template) as db:
            migrations.migrate(db, ENTITIES)
            raw_ids = seal(db, root, size, logins_of_a_chunk, is_lean=is_lean)
            for statement in ("analyze", "checkpoint"):
                db.execute(statement)
        yield raw_ids


@contextmanager
def fresh_database(server: Endpoint) -> Iterator[Endpoint]:
    """Create a database from the template, for the duration of the block."""
    with databases.temporary(server, "benchmark", template=databases.TEMPLATE) as database:
        yield database


def seal(db: Connection, root: UPath, size: int, logins_of_a_chunk: int, *, is_lean: bool = False) -> Sequence[int]:
    """Seal `size` transactions of complete logins, and return the ids of their raw batches."""
    logins = batches.enrol(db, size // TRANSACTIONS_OF_A_LOGIN)
    login_pages = pages(size, is_lean=is_lean)
    return [
        batches.seal(
            db,
            root,
            TRANSACTIONS,
            logins[first : first + logins_of_a_chunk],
            partial(_pages_of_login, login_pages, first),
            source=TRANSACTIONS_SYNC.name,
            at=_RECEIVED_AT + timedelta(microseconds=first),
            cursors=("", "a"),
        )
        for first in range(0, len(logins), logins_of_a_chunk)
    ]


def _pages_of_login(login_pages: batches.Pages, first: int, login: int) -> Iterable[bytes]:
    return login_pages(first + login)
