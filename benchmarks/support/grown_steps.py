"""Loads in a grown warehouse; each concerns the same few logins, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import msgspec
from upath import UPath

from benchmarks.support import batches, plaid_pages
from benchmarks.support.grown_warehouse import MASK, OBSERVED_AT, ROWS_OF_A_LOGIN
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import ACCOUNTS_GET, TRANSACTIONS_GET, TRANSACTIONS_SYNC
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync.load import load
from etl.sync.replay import replay
from etl.sync.transform import transform

STEPS = (
    "a first load",
    "a daily increment",
    "the merchants of the increment",
    "one row that ends",
    "a window",
    "a full read that lacks a row of each login",
    "a rejected correction",
    "what mends it",
    "a replay of the increment",
    "a snapshot of accounts",
    "a snapshot that lacks an account",
    "accounts of a login that was linked again",
    "its transactions",
)
_NOW = OBSERVED_AT + timedelta(hours=8)
_KNOWN = """
select
    transaction_id, account_id, amount, dated_on, pending, pending_transaction_id, description, merchant_name,
    merchant_entity_id
from core.transactions
where provider_account_id = %s and removed_at is null
order by dated_on
"""
_LINK_AGAIN = """
update core.provider_accounts as n set user_id = o.user_id, institution_id = o.institution_id, history_days = 730
from core.provider_accounts as o
where n.provider_account_id = %s and o.provider_account_id = %s
"""

Record = dict[str, object]


@dataclass
class Steps:
    """The steps, which seal and transform their batches, and load them when they are run.

    Parameters
    ----------
    db, root
        The warehouse, and its raw root.
    logins
        Of whom the batches are; at least three.
    """

    db: Connection
    root: UPath
    logins: Sequence[int]
    _minutes: int = 0

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield each step, in the order of `STEPS`: its name, and what runs it; it is prepared when it is reached."""
        return zip(STEPS, self._all(), strict=True)

    def _all(self) -> Iterator[Callable[[], object]]:
        first, second, third, *_ = self.logins
        new = batches.enrol(self.db, len(self.logins))
        first_load = {login: _changes(added=_new(login, ROWS_OF_A_LOGIN)) for login in new}
        yield self._load(self._seal(first_load, to="a"))
        increment = self._seal({login: self._day(login) for login in self.logins}, to="b")
        yield self._load(increment)
        yield self._load(transform(MERCHANTS, increment, db=self.db, root=self.root), MERCHANTS)
        yield self._load(self._seal({first: _changes(removed=[f"{first}-{ROWS_OF_A_LOGIN - 1}"])}, to="c"))
        recent = {login: self._known(login)[-20:] for login in self.logins}
        windows = {login: _window(records) for login, records in recent.items()}
        yield self._load(self._seal(windows, source=TRANSACTIONS_GET.name))
        known = {login: _changes(added=self._known(login)[1:]) for login in self.logins}
        yield self._load(self._seal(known, to="d", whole=True))
        record = recent[second][0]
        yield self._load(self._seal({second: _changes(modified=[{**record, "date": "?"}])}, to="e"))
        yield self._load(self._seal({second: _changes(modified=[{**record, "amount": 4}])}, to="f"))
        yield partial(replay, TRANSACTIONS, increment, db=self.db, root=self.root)
        yield self._load_accounts({login: f"account-{login}" for login in self.logins})
        yield self._load_accounts({login: f"other-{login}" for login in (first, second)})
        (again,) = batches.enrol(self.db, 1)
        self.db.execute(_LINK_AGAIN.encode(), (again, third))
        yield self._load_accounts({again: f"account-{again}"})
        repeated = [
            {**record, "transaction_id": f"again {record['transaction_id']}", "account_id": f"account-{again}"}
            for record in self._known(third)
        ]
        yield self._load(self._seal({again: _changes(added=repeated)}, to="a"))

    def _load_accounts(self, account_ids: Mapping[int, str]) -> Callable[[], object]:
        """Return what loads a snapshot with one account of each login."""
        pages = {login: _snapshot(account_id) for login, account_id in account_ids.items()}
        return self._load(self._seal(pages, entity=ACCOUNTS), ACCOUNTS)

    def _load(self, raw_id: int, entity: Entity = TRANSACTIONS) -> Callable[[], object]:
        return partial(load, entity, raw_id, db=self.db, root=self.root)

    def _seal(
        self,
        pages: Mapping[int, bytes],
        *,
        entity: Entity = TRANSACTIONS,
        source: str = "",
        to: str = "",
        whole: bool = False,
    ) -> int:
        """Seal and transform a page of each login, read from where its cursor is, a minute after the last ones.

        Parameters
        ----------
        source
            Name of a window; else it is the entity's own source.
        to
            The cursor after it, of a feed.
        whole
            Whether the feed was read in full.
        """
        self._minutes += 1
        query = "select provider_account_id, value, generation from etl.cursors where provider_account_id = any(%s)"
        cursors = dict.fromkeys(pages, ("", 0)) | {
            login: (value, generation)
            for login, value, generation in self.db.execute(query.encode(), (list(pages),)).fetchall()
        }
        raw_id = batches.seal(
            self.db,
            self.root,
            entity,
            list(pages),
            lambda login: [pages[list(pages)[login]]],
            source=source or (ACCOUNTS_GET if entity is ACCOUNTS else TRANSACTIONS_SYNC).name,
            at=_NOW + timedelta(minutes=self._minutes),
            cursors={login: (value, to) if to else ("", "") for login, (value, _) in cursors.items()},
            generations={login: generation for login, (_, generation) in cursors.items()} if to else {},
            whole=whole,
        )
        return transform(entity, raw_id, db=self.db, root=self.root)

    def _known(self, login: int) -> list[Record]:
        """Return the live records of a login as the provider sends them, the oldest first."""
        return [
            {
                **template,
                "transaction_id": key,
                "account_id": account_id,
                "amount": float(amount),
                "date": str(dated_on),
                "authorized_date": None,
                "pending": pending,
                "pending_transaction_id": replaced,
                "name": description,
                "merchant_name": merchant,
                "merchant_entity_id": merchant_id,
                "counterparties": [{"entity_id": merchant_id, "name": merchant, "type": "merchant", "website": None}],
                "personal_finance_category": {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"},
            }
            for template in _new(login, 1)
            for (
                *(key, account_id, amount, dated_on, pending, replaced, description, merchant, merchant_id),
            ) in self.db.execute(_KNOWN.encode(), (login,)).fetchall()
        ]

    def _day(self, login: int) -> bytes:
        """Return a page with some new records, one that posts a hold, a changed one and a removal."""
        *_, changed, removed = self._known(login)
        hold, posted, *others = _new(login, 5)
        hold |= {"transaction_id": f"{login} hold", "pending": True}
        posted |= {"transaction_id": f"{login} posted", "pending_transaction_id": f"{login}-{ROWS_OF_A_LOGIN}"}
        return _changes(
            added=[*others, hold, posted],
            modified=[{**changed, "amount": 3}],
            removed=[str(removed["transaction_id"])],
        )


def _new(login: int, count: int) -> list[Record]:
    """Return records of a login that nobody has seen before."""
    records = plaid_pages.transactions(login, records=count, merchants=100)
    return [
        {**record, "account_id": f"account-{login}", "transaction_id": f"{login} new {number}"}
        for number, record in enumerate(records)
    ]


def _changes(*, added: Sequence[Record] = (), modified: Sequence[Record] = (), removed: Sequence[str] = ()) -> bytes:
    """Return the body of a page of /transactions/sync."""
    changes = {"added": added, "modified": modified, "removed": [{"transaction_id": key} for key in removed]}
    return msgspec.json.encode({**changes, "next_cursor": "next", "has_more": False})


def _window(records: Sequence[Record]) -> bytes:
    """Return the body of a page of /transactions/get."""
    return msgspec.json.encode({"transactions": records, "total_transactions": len(records)})


def _snapshot(account_id: str) -> bytes:
    """Return the body of /accounts/get of a login with one account."""
    account = {
        "account_id": account_id,
        "name": "Checking",
        "mask": MASK,
        "type": "depository",
        "subtype": "checking",
        "balances": {"current": 110.5, "available": None, "limit": None, "iso_currency_code": "USD"},
    }
    return msgspec.json.encode({"accounts": [account]})
