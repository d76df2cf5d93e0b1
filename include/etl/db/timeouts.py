"""How long each connection to the warehouse may wait, and may let others wait.

The bounds are settings of the session, which libpq passes as `options` when it connects. A pooler that takes no
`options`, as pgbouncer by default, refuses such a connection; docs/deploy.md says what to set there.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Bounds of a connection; zero is no bound.

    Parameters
    ----------
    lock
        Wait for a lock that another transaction holds.
    idle_in_transaction
        Pause between two statements of a transaction, whose locks others may wait for.
    statement
        Time that a statement takes, waits for locks included.
    """

    lock: timedelta
    idle_in_transaction: timedelta
    statement: timedelta

    def options(self, given: str = "") -> str:
        """Return the value of libpq's `options`; those that were given come last, so that they take precedence."""
        settings = {
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
            "statement_timeout": self.statement,
        }
        ours = " ".join(f"-c {name}={value // timedelta(milliseconds=1)}" for name, value in settings.items())
        return f"{ours} {given}".strip()


TIMEOUTS = Timeouts(
    # No load or replay holds for this long what another waits for, and the retries of a task still end within hours.
    lock=timedelta(minutes=5),
    # Within a transaction, a step reads typed batches and moves or removes objects of the storage, which may be slow.
    idle_in_transaction=timedelta(minutes=10),
    # The largest merge takes minutes; a task has an hour for all its statements.
    statement=timedelta(minutes=30),
)
"""Bounds of every connection, unless its caller asks for others."""

MIGRATION_TIMEOUTS = Timeouts(
    # A lock on a whole table that is waited for holds up everyone who comes later: a migration gives way, tries again.
    lock=timedelta(seconds=5),
    idle_in_transaction=TIMEOUTS.idle_in_transaction,
    # A new index or constraint reads its table as a whole, however large it is.
    statement=timedelta(days=1),
)
"""Bounds of `sluice migrate`."""

METADATA_TIMEOUTS = Timeouts(
    # An alert is rather sent without what it cannot read in time.
    lock=timedelta(seconds=10),
    idle_in_transaction=timedelta(minutes=1),
    statement=timedelta(seconds=10),
)
"""Bounds of reading Airflow's own database."""
