"""Batches of the same records, one for each way in which a sync receives known records again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from upath import UPath

from benchmarks.support import batches, plaid_pages
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.transform import transform

_RECEIVED_AT = datetime(2026, 11, 20, tzinfo=UTC)
_DAY = timedelta(days=1)
_TRANSACTIONS_OF_A_LOGIN = 1_000
_ACCOUNTS_OF_A_LOGIN = 2
_TRANSACTIONS_OF_A_MERCHANT = 20


@dataclass(frozen=True)
class RepeatedBatches:
    """Typed batches of an entity that hold the same records.

    Parameters
    ----------
    entity
        The entity.
    first_raw_id
        Raw batch that is loaded first.
    repeated_raw_ids
        Way in which the same records are received again → their raw batch.
    """

    entity: Entity
    first_raw_id: int
    repeated_raw_ids: Mapping[str, int]


def seal_feeds(db: Connection, root: UPath, size: int) -> Sequence[RepeatedBatches]:
    """Seal and transform batches of `size` transactions, at least 20,000, each a day later than the one before."""
    merchants = size // _TRANSACTIONS_OF_A_MERCHANT
    feed, window = (
        partial(pages, records=_TRANSACTIONS_OF_A_LOGIN, merchants=merchants)
        for pages in (plaid_pages.feed, plaid_pages.window)
    )
    logins = batches.enrol(db, size // _TRANSACTIONS_OF_A_LOGIN)
    seal = partial(batches.seal, db, root, TRANSACTIONS, logins)

    first = seal(feed, source=TRANSACTIONS_SYNC.name, at=_RECEIVED_AT, cursors=("", "a"))
    reset = seal(feed, source=TRANSACTIONS_SYNC.name, at=_RECEIVED_AT + _DAY, cursors=("", "b"))
    backfill = seal(window, source=TRANSACTIONS_GET.name, at=_RECEIVED_AT + 2 * _DAY)
    repeated = (
        RepeatedBatches(TRANSACTIONS, first, {"after a reset cursor": reset, "as a backfill's window": backfill}),
        RepeatedBatches(MERCHANTS, first, {"from a raw batch that names the same": reset}),
    )
    return _transform_all(repeated, db=db, root=root)


def seal_snapshots(db: Connection, root: UPath, size: int) -> Sequence[RepeatedBatches]:
    """Seal and transform two batches of `size` accounts, the second a day later."""
    snapshot = partial(plaid_pages.snapshot, records=_ACCOUNTS_OF_A_LOGIN)
    logins = batches.enrol(db, size // _ACCOUNTS_OF_A_LOGIN)
    seal = partial(batches.seal, db, root, ACCOUNTS, logins, snapshot, source=ACCOUNTS_GET.name)
    repeated = (
        RepeatedBatches(ACCOUNTS, seal(at=_RECEIVED_AT), {"as the next snapshot": seal(at=_RECEIVED_AT + _DAY)}),
    )
    return _transform_all(repeated, db=db, root=root)


def _transform_all(repeated: Sequence[RepeatedBatches], *, db: Connection, root: UPath) -> Sequence[RepeatedBatches]:
    for each in repeated:
        for raw_id in (each.first_raw_id, *each.repeated_raw_ids.values()):
            transform(each.entity, raw_id, db=db, root=root)
    return repeated
