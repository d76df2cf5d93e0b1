"""The logins of a canned bank, enrolled in a warehouse that has nothing else."""

from __future__ import annotations

from etl.catalog.providers.plaid import PLAID
from etl.db.connection import Connection
from etl.sync.store import provider_accounts
from etl.sync.store.token_cipher import TokenCipher

_EMPTY = "truncate core.users, core.transactions, etl.chunks cascade"


def delete_all(db: Connection) -> None:
    """Forget all logins, and whatever was planned for them."""
    db.execute(_EMPTY)


def enrol(db: Connection, cipher: TokenCipher, logins: int) -> None:
    """Forget everything, and enrol so many logins."""
    with db.transaction():
        delete_all(db)
        for number in range(logins):
            token = f"{number:06d}"
            provider_accounts.enrol(
                db, cipher, provider=PLAID.name, user=token, item_id=f"item-{token}", access_token=token
            )
    db.execute("vacuum analyze")
