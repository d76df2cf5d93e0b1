"""Accounts of logins that were linked again, and the accounts that hold the same money now."""

from collections.abc import Sequence
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("sync/logins/replaced_accounts")
_TRANSACTIONS_SQL = StatementFile("entities/transactions")


@dataclass(frozen=True)
class LinkedAccount:
    """An account of a login, as the provider describes it when the login is linked.

    Parameters
    ----------
    account_id
        The provider's id, which is new with each link.
    persistent_id
        The provider's id that outlives a link; None if it gives none.
    mask, type, subtype, currency
        Its last digits, kind and currency; None if unknown.
    """

    account_id: str
    persistent_id: str | None
    mask: str | None
    type: str | None
    subtype: str | None
    currency: str | None


@dataclass(frozen=True)
class AccountMatch:
    """An account of an earlier login that is an account of a new one.

    Parameters
    ----------
    old_provider_account_id, old_account_id
        The earlier login and its account.
    new_account_id
        The account of the new login.
    matched_by
        `persistent_id`, `mask` or `person`.
    """

    old_provider_account_id: int
    old_account_id: str
    new_account_id: str
    matched_by: str


def match(db: Connection, provider_account_id: int, accounts: Sequence[LinkedAccount]) -> list[AccountMatch]:
    """Return the accounts of the user's earlier logins at the same institution that are accounts of a new login."""
    values = {
        "provider_account_id": provider_account_id,
        "account_ids": [account.account_id for account in accounts],
        "persistent_ids": [account.persistent_id for account in accounts],
        "masks": [account.mask for account in accounts],
        "types": [account.type for account in accounts],
        "subtypes": [account.subtype for account in accounts],
        "currencies": [account.currency for account in accounts],
    }
    return _SQL["match"].objects(db, AccountMatch, values)


def replace(db: Connection, provider_account_id: int, matches: Sequence[AccountMatch]) -> None:
    """Let a new login replace the earlier ones of some matches: these are not synced, and their balances not counted.

    Their transactions end when those of the new login are loaded.
    """
    with db.transaction():
        for each in matches:
            pair = {"old_account_id": each.old_account_id, "new_account_id": each.new_account_id}
            logins = {
                "old_provider_account_id": each.old_provider_account_id,
                "new_provider_account_id": provider_account_id,
            }
            _SQL["record"].run(db, {**logins, **pair, "matched_by": each.matched_by})
            _SQL["replace_login"].run(db, logins)
            _SQL["close_accounts"].run(db, logins)


def restore(db: Connection, provider_account_id: int) -> int:
    """Undo the replacement of an earlier login: it is synced again, and all its money counts again.

    Returns
    -------
    int
        The number of its accounts that were replaced; 0 if it is no replaced login, and nothing was done.
    """
    login = {"old_provider_account_id": provider_account_id}
    with db.transaction():
        account_ids = _SQL["undo"].scalars(db, login)
        accounts = {**login, "account_ids": account_ids}
        _SQL["restore_login"].run(db, login)
        _SQL["reopen_accounts"].run(db, accounts)
        _TRANSACTIONS_SQL["restore_replaced"].run(db, accounts)
    return len(account_ids)


def concern_batch(db: Connection) -> bool:
    """Return whether any login of the staged batch replaces another, or was replaced."""
    return bool(_SQL["concern_batch"].scalar(db))


def replaced_by(db: Connection, provider_account_id: int) -> list[int]:
    """Return the earlier logins that a login replaces, in the order of their ids."""
    return _SQL["replaced_by"].scalars(db, {"provider_account_id": provider_account_id})
