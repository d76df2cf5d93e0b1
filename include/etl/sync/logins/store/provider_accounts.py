"""Provider accounts: logins of users at banks, each with its encrypted access token and its state.

    (linked) ──▶ active ── a run's report accepts its proposal to stop, or `logins stop --retry` ──▶ needs_login
                   ▲ └──── too many records of an entity were rejected (etl.quarantines) ─▶ quarantined ─▶ active
                   │
                   ├── needs_login   a run asks it again at `next_try_at`: it is active once it is drained, and waits
                   │                 twice as long if it fails again
                   ├── suspended     `logins stop`, from active and needs_login
                   ├── unlinked      `logins unlink`, from every other state; its access token is deleted
                   └── replaced      its user has linked all its open accounts again, the last of them as `replaced_by`;
                                     from every state but `unlinked`, which stays, with a `replaced_by` of its own

`logins resume` makes a login that needs a login or is suspended active again, `logins restore` one that is replaced,
and linking it does so in every state. *Quarantined* is no state of its own but that of an active login with a row in
etl.quarantines; runs ask it as usual.

A transition that follows from a response of the provider compares `token_version` with that of the token which was
used, and `state_since` with when the response was recorded: an error for an older token, or of before a person resumed
the login, never stops it.
"""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from etl.chunking import Chunk
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.errors import PermanentError
from etl.sync.logins.store import replaced_accounts
from etl.sync.logins.store.token_cipher import TokenCipher

PAGE_SIZE = 200
"""Most accounts in memory at a time."""

FIRST_RETRY = timedelta(hours=1)
"""Longest wait before a login that needs a login is tried again for the first time; each failed try doubles it."""

MAX_RETRY_WAIT = timedelta(days=7)
"""Longest wait between two tries; each wait is between half and all of its length, so that tries spread."""

_SQL = StatementFile("sync/logins/provider_accounts")

log = logging.getLogger(__name__)


class ItemOfOtherUser(PermanentError):
    """A login is enrolled for another user."""

    def __init__(self, provider: str, item_id: str, user: str) -> None:
        super().__init__(
            f"{provider}: item {item_id} is enrolled for another user than {user!r}; "
            "check which user links this bank account."
        )


@dataclass(frozen=True)
class ProviderAccount:
    """An account to sync.

    Parameters
    ----------
    provider_account_id
        Its surrogate id.
    access_token
        Its access token, encrypted; see `TokenCipher`.
    cursor
        How far the feed was loaded; empty if never.
    needs_full_read
        Whether the feed must be read from its beginning in spite of its cursor.
    generation
        Generation of that cursor; 0 if the feed was never loaded.
    state
        `LoginState.ACTIVE` or `NEEDS_LOGIN`; in the latter case this is another try.
    token_version
        Version of the access token.
    item_id
        The provider's id of the login.
    """

    provider_account_id: int
    access_token: bytes = field(repr=False)
    cursor: str
    needs_full_read: bool
    generation: int
    state: str
    token_version: int
    item_id: str = ""


def enrol(
    db: Connection,
    cipher: TokenCipher,
    *,
    provider: str,
    user: str,
    item_id: str,
    access_token: str,
    history_days: int | None = None,
    institution_id: str | None = None,
    institution_name: str | None = None,
) -> int:
    """Add a login, or replace the token of an enrolled one and make it active; return its provider account id.

    One that other logins had replaced replaces them now.

    Parameters
    ----------
    history_days
        Days of history that the provider promised to send; None if unknown. An enrolled login keeps its own, since a
        provider decides when a login is linked first.
    institution_id, institution_name
        The bank, as the provider names it; None if unknown.

    Raises
    ------
    ItemOfOtherUser
        If the login is enrolled for another user.
    """
    values = {
        "provider": provider,
        "user": user,
        "item_id": item_id,
        "history_days": history_days,
        "institution_id": institution_id,
        "institution_name": institution_name,
    }
    with db.transaction():
        provider_account_ids = _SQL["enrol"].scalars(db, values)
        if not provider_account_ids:
            raise ItemOfOtherUser(provider, item_id, user)
        (provider_account_id,) = provider_account_ids
        # Its token is bound to its id.
        token = cipher.encrypt(access_token, provider_account_id=provider_account_id)
        _SQL["set_token"].run(db, {"provider_account_id": provider_account_id, "access_token": token})
        if others := replaced_accounts.reverse(db, provider_account_id):
            log.info("provider account %d was linked again, and replaces %s", provider_account_id, others)
    return int(provider_account_id)


def set_institution(
    db: Connection, provider_account_id: int, *, institution_id: str | None, institution_name: str | None
) -> None:
    """Record the bank of a login, as the provider names it."""
    values = {"institution_id": institution_id, "institution_name": institution_name}
    _SQL["set_institution"].run(db, {**values, "provider_account_id": provider_account_id})


def set_consent(db: Connection, provider_account_id: int, *, lifetime: timedelta | None) -> None:
    """Record that a user's consent begins now; None if it does not end by itself."""
    _SQL["set_consent"].run(db, {"provider_account_id": provider_account_id, "lifetime": lifetime})


def count_expiring_consents(db: Connection, *, provider: str, foretold: timedelta) -> tuple[int, datetime | None]:
    """Return how many consents of active logins are about to end, and when the first does."""
    ((logins, first_at),) = _SQL["count_expiring_consents"].rows(db, {"provider": provider, "foretold": foretold})
    return logins, first_at


def end_consents(db: Connection, *, provider: str) -> list[int]:
    """Stop the active logins whose consent has ended, and return these; their users must log in again."""
    return _SQL["end_consents"].scalars(db, {"provider": provider, "base": FIRST_RETRY})


def set_history_days(db: Connection, provider_account_id: int, history_days: int) -> None:
    """Record the days of history that the provider promised to send, also for a login that was enrolled before."""
    _SQL["set_history_days"].run(db, {"provider_account_id": provider_account_id, "history_days": history_days})


def read_pages(db: Connection, chunk: Chunk, *, provider: str, feed: str) -> Iterator[list[ProviderAccount]]:
    """Yield the accounts of a chunk that a run asks, in id order, at most `PAGE_SIZE` at a time."""
    start = chunk.start
    while True:
        bounds = {"provider": provider, "feed": feed, "start": start, "stop": chunk.stop, "limit": PAGE_SIZE}
        accounts = _SQL["page"].objects(db, ProviderAccount, bounds)
        if not accounts:
            return
        yield accounts
        start = accounts[-1].provider_account_id + 1


def accept_stops(db: Connection, *, entity: str, run_id: str, reasons: Collection[str]) -> int:
    """Stop the logins that a run proposes to stop for some error codes, and return how many were stopped.

    Each proposal is settled once, so that this can be repeated.
    """
    values = {"entity": entity, "run_id": run_id, "reasons": list(reasons), "base": FIRST_RETRY}
    return sum(is_accepted for _, is_accepted in _SQL["accept_stops"].rows(db, values))


def reject_stops(db: Connection, *, entity: str, run_id: str, reasons: Collection[str]) -> None:
    """Settle the proposals of a run to stop logins for some error codes, and leave the logins as they are."""
    _SQL["reject_stops"].run(db, {"entity": entity, "run_id": run_id, "reasons": list(reasons)})


def put_off_tries(db: Connection, *, entity: str, run_id: str) -> None:
    """Double the wait before the next try of the logins that a run has tried in vain; can be repeated."""
    values = {"entity": entity, "run_id": run_id, "base": FIRST_RETRY, "cap": MAX_RETRY_WAIT}
    _SQL["put_off_tries"].run(db, values)


def resume_after_success(db: Connection, provider_account_ids: Collection[int]) -> None:
    """Make those of some logins active that needed a login, since they could be read."""
    _SQL["resume_after_success"].run(db, {"provider_account_ids": list(provider_account_ids)})


def resume(db: Connection, provider_account_ids: Collection[int]) -> set[int]:
    """Make those of some logins active that need a login or are suspended, and return these."""
    return set(_SQL["resume"].scalars(db, {"provider_account_ids": list(provider_account_ids)}))


def suspend(db: Connection, provider_account_ids: Collection[int], *, reason: str | None) -> set[int]:
    """Suspend those of some logins that are active, need a login or are suspended, and return these."""
    return set(_SQL["suspend"].scalars(db, {"provider_account_ids": list(provider_account_ids), "reason": reason}))


def require_login(db: Connection, provider_account_ids: Collection[int], *, reason: str | None) -> set[int]:
    """Stop those of some logins that are active or suspended, as a run does, and return these."""
    values = {"provider_account_ids": list(provider_account_ids), "reason": reason, "base": FIRST_RETRY}
    return set(_SQL["require_login"].scalars(db, values))


def unlink(db: Connection, provider_account_id: int, *, token_version: int, reason: str | None) -> bool:
    """Delete the token of a login that the provider has given up; return False if it has another token since."""
    values = {"provider_account_id": provider_account_id, "token_version": token_version, "reason": reason}
    return bool(_SQL["unlink"].scalars(db, values))
