"""What is known of logins: those of a run by outcome, counts by state, lists, and one login in detail.

`provider_accounts` changes their states.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.logins.store import replaced_accounts

MAX_EXAMPLES = 10
"""Most logins that a message names."""

_KILLED = "killed the process"
"""Reason of logins that were left out since their pages killed the process."""

_MAX_OUTCOMES = 12
_MAX_DETAILS = 20
"""Most accounts or reconciliations in the details of a login."""
_MAX_EVENTS = 5
"""Most loads and skips in the details of a login."""

_SQL = StatementFile("sync/logins/logins")


@dataclass(frozen=True)
class ProposedStops:
    """Logins that a run proposes to stop for the same error code.

    Parameters
    ----------
    code
        The provider's error code.
    logins
        How many there are.
    accepted
        How many of them the report has stopped.
    unresolved
        How many of them are still as they were: not linked, stopped or resumed since, nor read by a later run.
    first_ids
        Provider account ids of the first few of these.
    """

    code: str
    logins: int
    accepted: int
    unresolved: int
    first_ids: list[int]


@dataclass(frozen=True)
class SkippedLogins:
    """Logins that a run has left out with the same outcome; the reason is None unless they have a common one.

    The outcome `not_stopped` is a proposal to stop that the report has not accepted.
    """

    outcome: str
    reason: str | None
    logins: int

    @property
    def is_killed(self) -> bool:
        """Whether their pages killed the process."""
        return self.reason == _KILLED


@dataclass(frozen=True)
class QuarantinedLogins:
    """Logins that a run has quarantined, by path and rule of most of their rejects.

    Parameters
    ----------
    path, rule
        See etl.quarantines.
    logins
        How many there are.
    first_ids
        Provider account ids of the first few.
    """

    path: str
    rule: str
    logins: int
    first_ids: list[int]


@dataclass(frozen=True)
class StateCount:
    """Number of logins by state, and by reason where they need a login or are suspended."""

    state: str
    reason: str | None
    logins: int


@dataclass(frozen=True)
class Login:
    """A login in a list.

    Parameters
    ----------
    login
        Its provider account id.
    user_reference
        Its user's id in the application.
    provider, institution_id, institution_name
        Its provider and bank; None where the bank is unknown.
    state, reason, since
        State as in `LoginState`, why, and since when.
    next_try_at
        When a run asks it again at the earliest; None unless it needs a login.
    """

    login: int
    user_reference: str
    provider: str
    institution_id: str | None
    institution_name: str | None
    state: str
    reason: str | None
    since: datetime
    next_try_at: datetime | None


@dataclass(frozen=True)
class LoginDetails:
    """What else is known of one login; see the columns of `core.provider_accounts`.

    Parameters
    ----------
    replaces
        Logins that it replaces.
    """

    user_id: int
    item_id: str
    enrolled_at: datetime
    history_days: int | None
    token_version: int
    failed_tries: int
    replaced_by: int | None
    replaces: list[int]


@dataclass(frozen=True)
class FeedCursor:
    """How far a feed of a login was loaded, without the cursor itself."""

    feed: str
    moved_at: datetime | None
    raw_id: int | None
    generation: int
    needs_full_read: bool


@dataclass(frozen=True)
class LoginLoad:
    """A load of a batch that holds a login."""

    raw_id: int
    entity: str
    source: str
    run_id: str
    loaded_at: datetime


@dataclass(frozen=True)
class LoginSkip:
    """A run that left a login out."""

    entity: str
    run_id: str
    outcome: str
    reason: str
    left_out_at: datetime


@dataclass(frozen=True)
class BankAccount:
    """A bank account of a login."""

    account_id: str
    name: str | None
    mask: str | None
    type: str | None
    currency: str | None
    closed_on: date | None


@dataclass(frozen=True)
class Quarantine:
    """An entity whose latest batch was not loaded for a login; see etl.quarantines."""

    entity: str
    raw_id: int | None
    read: int
    rejected: int
    path: str
    rule: str
    reason: str
    quarantined_at: datetime
    failures: int

    def __str__(self) -> str:
        """Return why, in a few words."""
        if self.rule == "killed":
            return "its pages killed the process"
        records = f"{self.rejected:,} of {self.read:,} records of raw batch {self.raw_id}"
        return f"{records} rejected, mostly {self.rule} at {self.path}"


@dataclass(frozen=True)
class PendingReconciliation:
    """A full read of a feed whose absent rows wait for a decision."""

    entity: str
    raw_id: int
    live: int
    absent: int
    reconciled_at: datetime


@dataclass(frozen=True)
class LoginReport:
    """Everything that is shown of one login; lists are bounded, the latest or the first of their kind."""

    login: Login
    details: LoginDetails
    cursors: list[FeedCursor]
    loads: list[LoginLoad]
    skips: list[LoginSkip]
    accounts: list[BankAccount]
    quarantines: list[Quarantine]
    reconciliations: list[PendingReconciliation]


@dataclass(frozen=True)
class LinkedLogin:
    """A login with its token, to be unlinked; `access_token` is encrypted, and None once it is unlinked."""

    provider_account_id: int
    provider: str
    state: str
    access_token: bytes | None = field(repr=False)
    token_version: int
    item_id: str


@dataclass(frozen=True)
class LoginFilter:
    """Which logins to list; None means all.

    Parameters
    ----------
    state
        As in `LoginState`.
    user
        The user's id in the application.
    """

    state: str | None = None
    user: str | None = None


def count_asked(db: Connection, *, entity: str, run_id: str) -> int:
    """Return how many logins a run has asked, without further tries of those that needed a login before."""
    return int(_SQL["count_asked"].scalar(db, {"entity": entity, "run_id": run_id}))


def stops_of_run(db: Connection, *, entity: str, run_id: str) -> list[ProposedStops]:
    """Return the logins that a run proposes to stop, by error code, the most frequent first."""
    values = {"entity": entity, "run_id": run_id, "examples": MAX_EXAMPLES}
    return _SQL["stops_of_run"].objects(db, ProposedStops, values)


def skipped_by_run(db: Connection, *, entity: str, run_id: str) -> list[SkippedLogins]:
    """Return the logins that a run has left out, by outcome and error code, the most frequent first."""
    values = {"entity": entity, "run_id": run_id, "killed": _KILLED, "limit": _MAX_OUTCOMES}
    return _SQL["skipped_by_run"].objects(db, SkippedLogins, values)


def quarantined_by_run(db: Connection, *, entity: str, run_id: str) -> list[QuarantinedLogins]:
    """Return the logins that a run has quarantined, by what their rejects have in common, the most frequent first.

    Those whose quarantine has ended since are left out.
    """
    values = {"entity": entity, "run_id": run_id, "examples": MAX_EXAMPLES}
    return _SQL["quarantined_by_run"].objects(db, QuarantinedLogins, values)


def count_by_state(db: Connection, *, provider: str | None = None) -> list[StateCount]:
    """Return the number of logins by state and reason, the most frequent first; of all providers if None is given."""
    return _SQL["count_by_state"].objects(db, StateCount, {"provider": provider})


def find_page(db: Connection, login_filter: LoginFilter, *, after: int, limit: int) -> list[Login]:
    """Return the next logins whose id is greater than `after`, in the order of their ids."""
    values = {"state": login_filter.state, "user": login_filter.user, "login": None, "after": after, "limit": limit}
    return _SQL["page"].objects(db, Login, values)


def find(db: Connection, login: int) -> LoginReport | None:
    """Return everything that is known of a login; None if there is none with this id."""
    alone = {"state": None, "user": None, "login": login, "after": 0, "limit": 1}
    found = _SQL["page"].first(db, Login, alone)
    if found is None:
        return None
    values = {"login": login, "limit": _MAX_DETAILS}
    (details,) = _SQL["details"].objects(db, LoginDetails, values)
    return LoginReport(
        found,
        details,
        cursors=_SQL["cursors"].objects(db, FeedCursor, values),
        loads=_SQL["loads"].objects(db, LoginLoad, {**values, "limit": _MAX_EVENTS}),
        skips=_SQL["skips"].objects(db, LoginSkip, {**values, "limit": _MAX_EVENTS}),
        accounts=_SQL["accounts"].objects(db, BankAccount, values) if replaced_accounts.are_declared(db) else [],
        quarantines=_SQL["quarantines"].objects(db, Quarantine, values),
        reconciliations=_SQL["pending_reconciliations"].objects(db, PendingReconciliation, values),
    )


def find_to_unlink(db: Connection, logins: Collection[int]) -> list[LinkedLogin]:
    """Return some logins with their tokens, in the order of their ids; unknown ones are missing."""
    return _SQL["find_to_unlink"].objects(db, LinkedLogin, {"logins": list(logins)})


def find_states(db: Connection, logins: Collection[int]) -> dict[int, str]:
    """Return the states of some logins; unknown ones are missing."""
    return dict(_SQL["find_states"].rows(db, {"logins": list(logins)}))


def starved_by_run(db: Connection, *, entity: str, run_id: str) -> tuple[int, list[int]]:
    """Return how many logins a run could not read to their end for want of calls, and the ids of the first."""
    ((count, first_ids),) = _SQL["starved_by_run"].rows(db, {"entity": entity, "run_id": run_id})
    return count, first_ids or []
