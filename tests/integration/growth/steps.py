"""Steps of a sync in a grown warehouse; each concerns the same few logins, however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from tests.integration.growth.grown_warehouse import OBSERVED_AT, ROWS_OF_A_LOGIN
from tests.integration.sync.pipeline import Pipeline
from tests.integration.sync.test_entities import account, snapshot
from tests.unit.sync.samples import page, transaction

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
LOGINS = range(3, 8)
"""Of whom the batches are."""
_NOW = OBSERVED_AT + timedelta(hours=8)
_KNOWN = """
select
    transaction_id, account_id, amount, dated_on, pending, pending_transaction_id, description, merchant_name,
    merchant_entity_id
from core.transactions
where provider_account_id = %s and removed_at is null
order by dated_on
"""


@dataclass
class Steps:
    """The steps, by name.

    Parameters
    ----------
    pipeline
        Runs the steps of a sync.
    """

    pipeline: Pipeline
    _minutes: int = 0

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield each step, in the order of `STEPS`: its name, and what runs it; it is prepared when it is reached."""
        return zip(STEPS, self._all(), strict=True)

    def _all(self) -> Iterator[Callable[[], object]]:
        yield self._load({login: page(added=self._new(login)) for login in self._enrol()}, to="a")
        daily_id = self._seal({login: self._day(login) for login in LOGINS}, to="b")
        yield lambda: self.pipeline.load(daily_id)
        yield self._merchants(daily_id)
        last = f"{LOGINS[0]}-{ROWS_OF_A_LOGIN - 1}"
        yield self._load({LOGINS[0]: page(removed=[{"transaction_id": last}])}, to="c")
        recent = {login: self._known(login)[-20:] for login in LOGINS}
        windows = {login: window(*records) for login, records in recent.items()}
        yield self._load(windows, source="transactions_get")
        known = {login: page(added=self._known(login)[1:]) for login in LOGINS}
        yield self._load(known, to="d", whole=True)
        record = recent[LOGINS[1]][0]
        yield self._load({LOGINS[1]: page(modified=[{**record, "date": "?"}])}, to="e")
        yield self._load({LOGINS[1]: page(modified=[{**record, "amount": 4}])}, to="f")
        yield lambda: self.pipeline.replay(daily_id)
        yield self._accounts(LOGINS)
        yield self._accounts(LOGINS[:2], name="other")
        again = self._link_again(LOGINS[2])
        yield self._accounts([again])
        yield self._load(
            {
                again: page(
                    added=[
                        {**each, "transaction_id": f"again {each['transaction_id']}", "account_id": f"account-{again}"}
                        for each in self._known(LOGINS[2])
                    ]
                )
            },
            to="a",
        )

    def _load(self, pages: Mapping[int, bytes], **options: Any) -> Callable[[], object]:
        raw_id = self._seal(pages, **options)
        return lambda: self.pipeline.load(raw_id)

    def _seal(
        self, pages: Mapping[int, bytes], *, source: str = "transactions_sync", to: str = "", whole: bool = False
    ) -> int:
        """Seal and transform pages of logins, read from where their cursors are, a minute after the last ones."""
        self._minutes += 1
        query = "select provider_account_id, value, generation from etl.cursors where provider_account_id = any(%s)"
        cursors = dict.fromkeys(pages, ("", 0)) | {
            login: (value, generation)
            for login, value, generation in self.pipeline.db.execute(query.encode(), (list(pages),)).fetchall()
        }
        return replace(self.pipeline, source=source).seal_pages(
            *pages.items(),
            run_id=f"step {self._minutes}",
            at=_NOW + timedelta(minutes=self._minutes),
            moves={login: f"{value}>{to}" if to else ">" for login, (value, _) in cursors.items()},
            generation={login: generation for login, (_, generation) in cursors.items()} if to else None,
            whole=whole,
        )

    def _enrol(self) -> list[int]:
        return self.pipeline.enrol(*(f"new {number}" for number in range(5)))

    def _link_again(self, login: int) -> int:
        """Enrol a new login of the user of another one, at the same institution."""
        (account,) = self.pipeline.enrol("again")
        query = (
            "update core.provider_accounts as n set user_id = o.user_id, institution_id = o.institution_id "
            "from core.provider_accounts as o where n.provider_account_id = %s and o.provider_account_id = %s"
        )
        self.pipeline.db.execute(query.encode(), (account, login))
        return account

    def _new(self, login: int) -> list[dict[str, object]]:
        return [transaction(transaction_id=f"{login}-{number}") for number in range(ROWS_OF_A_LOGIN)]

    def _known(self, login: int) -> list[dict[str, object]]:
        """Return the live records of a login, the oldest first."""
        return [
            transaction(
                transaction_id=key,
                account_id=account_id,
                amount=float(amount),
                date=str(dated_on),
                datetime=None,
                authorized_date=None,
                pending=pending,
                pending_transaction_id=replaced,
                name=description,
                merchant_name=merchant,
                merchant_entity_id=merchant_id,
                counterparties=[{"entity_id": merchant_id, "name": merchant, "type": "merchant", "website": None}],
                personal_finance_category={"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_COFFEE"},
            )
            for (
                *(key, account_id, amount, dated_on, pending, replaced, description, merchant, merchant_id),
            ) in self.pipeline.db.execute(_KNOWN.encode(), (login,)).fetchall()
        ]

    def _day(self, login: int) -> bytes:
        """Return a page with some new records, one that posts a hold, some changed ones and a removal."""
        *_, changed, removed = self._known(login)
        new = [
            transaction(transaction_id=f"{login} new {number}", account_id=f"account-{login}") for number in range(3)
        ]
        hold = transaction(transaction_id=f"{login} hold", account_id=f"account-{login}", pending=True)
        posted = transaction(
            transaction_id=f"{login} posted",
            account_id=f"account-{login}",
            pending_transaction_id=f"{login}-{ROWS_OF_A_LOGIN}",
        )
        return page(
            added=[*new, hold, posted],
            modified=[{**changed, "amount": 3}],
            removed=[{"transaction_id": removed["transaction_id"]}],
        )

    def _merchants(self, raw_id: int) -> Callable[[], object]:
        merchants = replace(self.pipeline, entity=MERCHANTS)
        merchants.transform(raw_id)
        return lambda: merchants.load(raw_id)

    def _accounts(self, logins: Sequence[int], name: str = "account") -> Callable[[], object]:
        accounts = replace(self.pipeline, entity=ACCOUNTS, source="accounts_get")
        self._minutes += 1
        pages = [(login, snapshot(account(account_id=f"{name}-{login}", mask="1234"))) for login in logins]
        raw_id = accounts.seal_pages(
            *pages, run_id=f"accounts {self._minutes}", moves=">", at=_NOW + timedelta(minutes=self._minutes)
        )
        return lambda: accounts.load(raw_id)


def window(*records: dict[str, object]) -> bytes:
    """Return the body of a page of /transactions/get."""
    return msgspec.json.encode({"transactions": records, "total_transactions": len(records)})
