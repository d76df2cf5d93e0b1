"""Enrols the logins of a canned bank in a warehouse that holds nothing else."""

from __future__ import annotations

from etl.catalog.providers.plaid import PLAID
from etl.db.connection import Connection
from etl.sync.logins.store import provider_accounts
from etl.sync.logins.store.token_cipher import TokenCipher

_TRUNCATE = "truncate core.users, core.transactions, etl.chunks cascade"


def delete_all(db: Connection) -> None:
    """Delete all logins, their transactions and their chunks."""
    db.execute(_TRUNCATE)


def enrol(db: Connection, cipher: TokenCipher, logins: int) -> None:
    """Delete everything, and enrol `logins` logins."""
    with db.transaction():
        delete_all(db)
        for number in range(logins):
            token = f"{number:06d}"
            provider_accounts.enrol(
                db, cipher, provider=PLAID.name, user=token, item_id=f"item-{token}", access_token=token
            )
    db.execute("vacuum analyze")
