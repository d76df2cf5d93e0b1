"""Accounts of logins that were linked again, and the accounts that hold the same money now."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from etl.db.connection import Connection
from etl.db.statements import Statement, StatementFile
from etl.sync.logins.store.login_state import LoginState

_SQL = StatementFile("sync/logins/replaced_accounts")


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

    The logins of these accounts are compared with the loaded accounts of their users' other logins. The accounts that
    are the same count no more in the earlier login, which is not synced any more if a later one has all its open
    accounts; its transactions end when those of the new logins are loaded.

    Returns
    -------
    list of AccountMatch
        The pairs that were not known before.
    """
    if not accounts:
        return []
    with db.transaction():
        _SQL["lock_users"].run(
            db, {"provider_account_ids": sorted({account.provider_account_id for account in accounts})}
        )
        matches = _match(db, accounts)
        _lock_cursors(db, [login for pair in _logins_of(matches) for login in pair])
        new_matches = [match for match in matches if _SQL["record"].scalars(db, asdict(match))]
        for old, new in _logins_of(new_matches):
            _replace_login(db, old_provider_account_id=old, new_provider_account_id=new)
    return new_matches


def mark_compared(db: Connection) -> None:
    """Record that the logins of the staged snapshot were compared with others after they were linked."""
    _SQL["mark_compared"].run(db)


def lock_users_of_batch(db: Connection) -> None:
    """Exclude whoever links or restores logins of the users whose staged logins are still to be compared."""
    _SQL["lock_users_of_batch"].run(db)


def reverse(db: Connection, provider_account_id: int) -> list[int]:
    """Let a login replace those that had replaced it or some of its accounts, since it was linked again; return these.

    Its accounts count again at once. Its transactions, and the end of the others', come with its next load, which reads
    everything, so that the money counts once in between as well.
    """
    login = {"old_provider_account_id": provider_account_id}
    others = _SQL["counterparts"].scalars(db, login)
    if others:
        _lock_cursors(db, [provider_account_id, *others])
        _SQL["reopen_accounts"].run(db, login)
        others = sorted(set(_SQL["reverse"].scalars(db, {"provider_account_id": provider_account_id})))
        for other in others:
            _replace_login(db, old_provider_account_id=other, new_provider_account_id=provider_account_id)
        _SQL["request_full_read"].run(db, login)
    return others


def are_declared(db: Connection) -> bool:
    """Return whether the warehouse has bank accounts at all: without them, no login is ever replaced."""
    return bool(_SQL["has_accounts"].scalar(db))


def restore(db: Connection, provider_account_id: int, *, restorations: Collection[Statement]) -> LoginState | None:
    """Undo the replacement of a login or of some of its accounts.

    All its money counts again, and it is synced unless it was unlinked or is stopped for another reason. Rows that had
    ended as replaced come back even if the replacement was undone before.

    Parameters
    ----------
    restorations
        The statements `restore_replaced` of all entities that have one, which bring their rows back.

    Returns
    -------
    LoginState or None
        Its state now; None if there was nothing to undo.
    """
    if not are_declared(db):
        return None
    login = {"old_provider_account_id": provider_account_id}
    with db.transaction():
        _SQL["lock_users"].run(db, {"provider_account_ids": [provider_account_id]})
        _lock_cursors(db, [provider_account_id, *_SQL["counterparts"].scalars(db, login)])
        _SQL["reopen_accounts"].run(db, login)
        undone = _SQL["restore_login"].run(db, login) + _SQL["undo"].run(db, login)
        undone += sum(statement.run(db, login) for statement in restorations)
        if not undone:
            return None
        _SQL["request_full_read"].run(db, login)
        return LoginState(_SQL["state_of"].scalar(db, login))


def confirm(db: Connection, provider_account_id: int) -> bool:
    """Record that the accounts of a replaced login are those of the later ones; return whether it was replaced.

    Rows that the later logins lack then end with their next batch, however many they are.
    """
    login = {"old_provider_account_id": provider_account_id}
    with db.transaction():
        _SQL["lock_users"].run(db, {"provider_account_ids": [provider_account_id]})
        _lock_cursors(db, [provider_account_id, *_SQL["counterparts"].scalars(db, login)])
        return _SQL["confirm"].run(db, login) > 0


def concern_batch(db: Connection) -> bool:
    """Return whether any login of the staged batch replaces another, or was replaced."""
    return bool(_SQL["concern_batch"].scalar(db))


def mark_ended(db: Connection, *, feed: str) -> None:
    """Record that the rows of the staged logins were compared with those of the logins that they replace."""
    _SQL["mark_ended"].run(db, {"feed": feed})


def replaced_by(db: Connection, provider_account_id: int) -> list[int]:
    """Return the earlier logins that a login replaces, in the order of their ids."""
    return _SQL["replaced_by"].scalars(db, {"provider_account_id": provider_account_id})


def _logins_of(matches: Sequence[AccountMatch]) -> list[tuple[int, int]]:
    """Return the earlier and the later login of some matches, each pair once."""
    return list(dict.fromkeys((match.old_provider_account_id, match.new_provider_account_id) for match in matches))


def _lock_cursors(db: Connection, provider_account_ids: Collection[int]) -> None:
    """Exclude loads of these logins: none may end or bring rows while it is decided which of them count."""
    _SQL["lock_cursors"].run(db, {"provider_account_ids": sorted(set(provider_account_ids))})


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
