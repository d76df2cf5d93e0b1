"""Outcomes of a download: of one provider account, and of all accounts of a chunk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from etl.declare.provider import ErrorAction
from etl.sync.logins.store.login_state import LoginState
from etl.sync.logins.store.provider_accounts import ProviderAccount
from etl.sync.store.landing import DrainedAccount


class AccountOutcome(Enum):
    """How the download of a provider account ended."""

    DRAINED = "drained"
    STOPPED = "stopped"
    """Its user must log in at the bank again; a proposal, which the report of the run accepts or rejects."""
    STILL_STOPPED = "still_stopped"
    """It needed a login, was tried again, and still needs one."""
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    UNFINISHED = "unfinished"
    """Its pages so far are kept, and the next download continues from them."""
    STARVED = "starved"
    """It has no call left that its provider allows; its pages so far are kept. It is late, and the run fails."""
    OVERSIZED = "oversized"
    """The provider sent more than was asked for."""
    QUARANTINED = "quarantined"
    """It is not requested, since its pages killed the process."""
    REFUSED = "refused"
    """The provider's response is not covered by any declared rule."""
    UNREADABLE = "unreadable"
    """None of the keys decrypts its access token."""


UNASKED = frozenset({AccountOutcome.QUARANTINED, AccountOutcome.UNREADABLE})
"""Outcomes of accounts for which no request was sent."""

_OUTCOME_BY_ACTION = {
    ErrorAction.STOP_ACCOUNT: AccountOutcome.STOPPED,
    ErrorAction.NOT_READY: AccountOutcome.NOT_READY,
    ErrorAction.RESTART_FEED: AccountOutcome.UNREACHABLE,
    ErrorAction.REREAD_FEED: AccountOutcome.UNREACHABLE,
    ErrorAction.RETRY: AccountOutcome.UNREACHABLE,
}
"""Outcome of an account whose last response still asks for an action."""


@dataclass(frozen=True)
class DownloadResult:
    """Result for one account: its landed pages, or the reason why there are none.

    Parameters
    ----------
    outcome
        How its download ended.
    drained_account
        Its landed pages, if it was drained.
    reason
        Why it was not drained.
    wait
        How long the provider asked to wait before the next request, if that is too long to sleep between two requests.
    must_be_alone
        Whether the account can only be read while no other is, since its pages are large.
    """

    outcome: AccountOutcome
    drained_account: DrainedAccount | None = None
    reason: str = ""
    wait: timedelta | None = None
    must_be_alone: bool = False


@dataclass
class ChunkOutcomes:
    """Outcomes of all accounts of a chunk.

    Parameters
    ----------
    counts
        Outcome → number of accounts.
    skipped
        The accounts that were not drained, with their results.
    drained
        Ids of the accounts that were drained.
    resumed
        Ids of those of them that needed a login.
    """

    counts: Counter[str] = field(default_factory=Counter)
    skipped: list[tuple[ProviderAccount, DownloadResult]] = field(default_factory=list)
    drained: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)

    def add(self, account: ProviderAccount, result: DownloadResult) -> None:
        """Count one account."""
        self.counts[result.outcome.value] += 1
        if result.outcome is not AccountOutcome.DRAINED:
            self.skipped.append((account, result))
            return
        self.drained.append(account.provider_account_id)
        if account.state == LoginState.NEEDS_LOGIN:
            self.resumed.append(account.provider_account_id)


def outcome_of(action: ErrorAction, account: ProviderAccount) -> AccountOutcome:
    """Return the outcome of an account whose last response still asks for an action."""
    if action is ErrorAction.STOP_ACCOUNT and account.state == LoginState.NEEDS_LOGIN:
        return AccountOutcome.STILL_STOPPED
    return _OUTCOME_BY_ACTION[action]
