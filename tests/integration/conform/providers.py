"""The shipped providers, each with its entities, its sandbox, and errors as its documentation shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from dev.bank.bank import Bank
from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.gocardless_accounts import GOCARDLESS_ACCOUNTS
from etl.catalog.entities.gocardless_transactions import GOCARDLESS_TRANSACTIONS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.simplefin_accounts import SIMPLEFIN_ACCOUNTS
from etl.catalog.entities.simplefin_transactions import SIMPLEFIN_TRANSACTIONS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.conform import kit
from etl.conform.kit import Provided
from etl.declare.entity import Entity
from etl.settings import Endpoint
from tests.integration.sync.gocardless_rows import grant
from tests.integration.sync.own_bank import OwnBank


@dataclass(frozen=True)
class Case:
    """A provider.

    Parameters
    ----------
    entities
        Its entities.
    provide
        Returns where its sandbox is, with logins.
    documented
        Errors as its documentation shows them: behaviour → status and body.
    unplayed
        Each entity that is read from it → behaviours that need not be applicable to it.
    """

    entities: tuple[Entity, ...]
    provide: Callable[[OwnBank], Provided]
    unplayed: Mapping[str, frozenset[str]]
    documented: Mapping[str, tuple[int, Mapping[str, object]]] = field(default_factory=dict)

    def write_documented(self, folder: Path) -> Path:
        """Write the documented errors into a file."""
        answers = {name: [{"status": status, "body": body}] for name, (status, body) in self.documented.items()}
        path = folder / "documented.json"
        path.write_text(json.dumps(answers))
        return path


ONE_PAGE = frozenset(
    {
        *("changed while read", "removed before added", "repeated page", "cursor goes back", "endless pages"),
        *("duplicate record", kit.END, kit.SIGNS),
    }
)
"""What cannot be played where all records come in one page."""

NO_REQUIRED_FIELD = frozenset({"required field vanished"})
"""What cannot be played where only the key is required."""

NO_QUOTA = frozenset({"quota used up"})
"""What cannot be played where no quota is declared."""

NO_PLAIN_KEY = frozenset({kit.KEY})
"""What cannot be checked where the key is derived."""

ONE_RECORD = frozenset({"record removed"})
"""What cannot be played where a login is one record."""


def provide_gocardless(bank: OwnBank) -> Provided:
    today = datetime.now(UTC).date()
    bank.serve(Bank.from_seed("moods", opened_on=today - timedelta(days=60), today=today))
    endpoint = replace(bank.endpoint, host=f"{bank.endpoint.host}/gocardless/api/v2")
    return Provided(endpoint, public_tokens=[grant(bank.endpoint, number) for number in range(2)])


def provide_simplefin(bank: OwnBank) -> Provided:
    today = datetime.now(UTC).date()
    bank.serve(Bank.from_seed("moods", opened_on=today - timedelta(days=60), today=today))
    tokens = [
        httpx.get(
            f"{bank.endpoint.host}/simplefin/create",
            params={"user": number},
            auth=(bank.endpoint.login, bank.endpoint.password),
            trust_env=False,
        )
        .raise_for_status()
        .text
        for number in range(2)
    ]
    return Provided(Endpoint(bank.endpoint.host), public_tokens=tokens)


CASES = {
    "plaid": Case(
        (ACCOUNTS, TRANSACTIONS, MERCHANTS),
        lambda bank: Provided(bank.endpoint, public_tokens=[bank.create_public_token(number) for number in range(2)]),
        {"accounts": ONE_PAGE | NO_REQUIRED_FIELD | NO_QUOTA, "transactions": NO_QUOTA | {kit.SIGNS}},
        # Plaid API reference, "Errors".
        {
            "changed while read": (
                400,
                {"error_type": "TRANSACTIONS_ERROR", "error_code": "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"},
            ),
            "login needed": (400, {"error_type": "ITEM_ERROR", "error_code": "ITEM_LOGIN_REQUIRED"}),
            "rate limited": (429, {"error_type": "RATE_LIMIT_EXCEEDED", "error_code": "TRANSACTIONS_SYNC_LIMIT"}),
        },
    ),
    "gocardless": Case(
        (GOCARDLESS_ACCOUNTS, GOCARDLESS_TRANSACTIONS),
        provide_gocardless,
        {
            "gocardless_accounts": ONE_PAGE | NO_REQUIRED_FIELD | NO_PLAIN_KEY | ONE_RECORD,
            "gocardless_transactions": ONE_PAGE | NO_PLAIN_KEY,
        },
        # "Statuses and Error Codes".
        {
            "login needed": (
                401,
                {
                    "summary": "End User Agreement (EUA) 91d67f81 has expired",
                    "detail": "EUA was valid for 90 days and it expired at 2026-11-01",
                    "type": "AccessExpiredError",
                    "status_code": 401,
                },
            ),
        },
    ),
    "simplefin": Case(
        (SIMPLEFIN_ACCOUNTS, SIMPLEFIN_TRANSACTIONS),
        provide_simplefin,
        {"simplefin_accounts": ONE_PAGE, "simplefin_transactions": ONE_PAGE | NO_PLAIN_KEY},
        # SimpleFIN Protocol, "GET /accounts", responses.
        {"login needed": (403, {})},
    ),
}
"""Each provider of the catalogue."""
