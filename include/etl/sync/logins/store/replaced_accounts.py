"""Accounts of logins that were linked again, and the accounts that hold the same money now."""

from collections.abc import Sequence
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.logins.store.login_state import LoginState

_SQL = StatementFile("sync/logins/replaced_accounts")
_TRANSACTIONS_SQL = StatementFile("entities/transactions")


@dataclass(frozen=True)
class LinkedAccount:
    """An account of a login, as the provider describes it.

    Parameters
    ----------
    provider_account_id
        The login.
    account_id
        The provider's id, which is new with each link.
    persistent_id
        The provider's id that outlives a link; None if it gives none.
    mask, type, subtype, currency
        Its last digits, kind and currency; None if unknown.
    """

    provider_account_id: int
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
    new_provider_account_id, new_account_id
        The login that was linked later, and its account.
    matched_by
        `persistent_id` or `mask`.
    """

    old_provider_account_id: int
    old_account_id: str
    new_provider_account_id: int
    new_account_id: str
    matched_by: str


def compare(db: Connection, accounts: Sequence[LinkedAccount]) -> list[AccountMatch]:
    """Let the logins that were linked last replace those that have accounts in common with them.

    The logins of these accounts are compared with the loaded accounts of their users' other logins. The replaced ones
    are not synced, and their balances not counted; their transactions end when those of the new logins are loaded.

    Returns
    -------
    list of AccountMatch
        The pairs that were not known before.
    """
    new_matches: list[AccountMatch] = []
    with db.transaction():
        _SQL["lock_users"].run(
            db, {"provider_account_ids": sorted({account.provider_account_id for account in accounts})}
        )
        for match in _match(db, accounts):
            pair = {"old_account_id": match.old_account_id, "new_account_id": match.new_account_id}
            logins = {
                "old_provider_account_id": match.old_provider_account_id,
                "new_provider_account_id": match.new_provider_account_id,
            }
            if _SQL["record"].scalars(db, {**logins, **pair, "matched_by": match.matched_by}):
                _replace_login(db, **logins)
                new_matches.append(match)
    return new_matches


def mark_compared(db: Connection) -> None:
    """Record that the logins of the staged snapshot were compared with others after they were linked."""
    _SQL["mark_compared"].run(db)


def reverse(db: Connection, provider_account_id: int) -> list[int]:
    """Let a replaced login replace those that had replaced it, since it was linked again; return these.

    Its accounts count again at once. Its transactions, and the end of the others', come with its next load, which reads
    everything, so that the money counts once in between as well.
    """
    login = {"old_provider_account_id": provider_account_id}
    pairs = _SQL["reverse"].rows(db, {"provider_account_id": provider_account_id})
    others = sorted({other for other, _ in pairs})
    for other in others:
        _replace_login(db, old_provider_account_id=other, new_provider_account_id=provider_account_id)
    if pairs:
        _SQL["reopen_accounts"].run(db, {**login, "account_ids": [account_id for _, account_id in pairs]})
        _SQL["request_full_read"].run(db, login)
    return others


def restore(db: Connection, provider_account_id: int) -> LoginState | None:
    """Undo the replacement of an earlier login: all its money counts again, and it is synced unless it was unlinked.

    Returns
    -------
    LoginState or None
        Its state now; None if it was not replaced, and nothing was done.
    """
    login = {"old_provider_account_id": provider_account_id}
    with db.transaction():
        _SQL["lock_users"].run(db, {"provider_account_ids": [provider_account_id]})
        states = _SQL["restore_login"].scalars(db, login)
        if not states:
            return None
        accounts = {**login, "account_ids": _SQL["undo"].scalars(db, login)}
        _SQL["reopen_accounts"].run(db, accounts)
        _TRANSACTIONS_SQL["restore_replaced"].run(db, accounts)
        _SQL["request_full_read"].run(db, login)
    return LoginState(states[0])


def concern_batch(db: Connection) -> bool:
    """Return whether any login of the staged batch replaces another, or was replaced."""
    return bool(_SQL["concern_batch"].scalar(db))


def replaced_by(db: Connection, provider_account_id: int) -> list[int]:
    """Return the earlier logins that a login replaces, in the order of their ids."""
    return _SQL["replaced_by"].scalars(db, {"provider_account_id": provider_account_id})


def _match(db: Connection, accounts: Sequence[LinkedAccount]) -> list[AccountMatch]:
    values = {
        "provider_account_ids": [account.provider_account_id for account in accounts],
        "account_ids": [account.account_id for account in accounts],
        "persistent_ids": [account.persistent_id for account in accounts],
        "masks": [account.mask for account in accounts],
        "types": [account.type for account in accounts],
        "subtypes": [account.subtype for account in accounts],
        "currencies": [account.currency for account in accounts],
    }
    return _SQL["match"].objects(db, AccountMatch, values)


def _replace_login(db: Connection, *, old_provider_account_id: int, new_provider_account_id: int) -> None:
    logins = {
        "old_provider_account_id": old_provider_account_id,
        "new_provider_account_id": new_provider_account_id,
    }
    _SQL["replace_login"].run(db, logins)
    _SQL["close_accounts"].run(db, logins)
