"""What a person, or time, does between the runs of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.sync.hostile.history import History


def let_time_pass(history: History) -> None:
    """Let the waits of logins end, after which they are tried again."""
    history.pipeline.db.execute("update core.provider_accounts set next_try_at = now() where state = 'needs_login'")


def decide(history: History) -> bool:
    """Accept quarantines, and decide what waits for approval; return whether there was anything to decide."""
    (quarantined,) = history.pipeline.db.execute("select count(*) from etl.quarantines").fetchone() or (0,)
    (pending,) = history.pipeline.db.execute(
        "select count(*) from etl.reconciliations where state = 'pending'"
    ).fetchone() or (0,)
    return bool(quarantined or pending)
