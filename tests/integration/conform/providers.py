"""The shipped providers, each with its entities, its sandbox, and errors as its documentation shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from etl.catalog.entities.accounts import ACCOUNTS
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.conform import kit
from etl.conform.kit import Provided
from etl.declare.entity import Entity
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
}
"""Each provider of the catalogue."""
