"""What comes of provider accounts in a download."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from etl.declare.provider import Action
from etl.errors import MustWait
from etl.stores.landing import Drained
from etl.stores.provider_accounts import ProviderAccount


class ProviderAsksToWait(MustWait):
    """A provider wants to be left alone for longer than a task can wait."""

    def __init__(self, provider: str, chunk_id: int, found: str, wait: timedelta) -> None:
        super().__init__(
            f"{provider} answers {found}, and wants to be asked again after {wait}; "
            f"then chunk {chunk_id} starts afresh. No cursor moved.",
            wait,
        )


class Outcome(Enum):
    """What came of a provider account."""

    DRAINED = "drained"
    STOPPED = "stopped"
    NOT_READY = "not_ready"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    """It answered in a way that no declared rule covers."""
    UNREADABLE = "unreadable"
    """None of the keys decrypts its access token."""


OF_ACTION = {
    Action.STOP_ACCOUNT: Outcome.STOPPED,
    Action.NOT_READY: Outcome.NOT_READY,
    Action.RESTART_FEED: Outcome.UNREACHABLE,
    Action.RETRY: Outcome.UNREACHABLE,
}
"""What an account comes to when the provider still asks for an action in the end."""


@dataclass(frozen=True)
class Result:
    """What came of one account: its pages that landed, or what was found instead."""

    outcome: Outcome
    drained: Drained | None = None
    found: str = ""


@dataclass
class Tally:
    """What came of all accounts of a chunk."""

    outcomes: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[ProviderAccount, Result]] = field(default_factory=list)

    def count(self, account: ProviderAccount, result: Result) -> None:
        """Count one account."""
        self.outcomes[result.outcome.value] += 1
        if result.outcome is not Outcome.DRAINED:
            self.left_out.append((account, result))
