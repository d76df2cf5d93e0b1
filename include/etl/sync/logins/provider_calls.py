"""Calls of sources with a quota, recorded in the warehouse, so that they count over restarts and over all workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.api.quota import Quota

_SQL = StatementFile("sync/logins/provider_calls")


@dataclass(frozen=True)
class QuotaUse:
    """How much of the quotas of a source is used.

    Parameters
    ----------
    used
        Calls that count now, over all active logins.
    exhausted
        Active logins that have no call left.
    """

    used: int
    exhausted: int


class ProviderCalls:
    """The calls in the warehouse."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    def take(self, source: str, provider_account_id: int, quota: Quota) -> timedelta:
        """Record a call, and return zero; if no call is left, record none, and return the wait until there is one."""
        values = {
            "source": source,
            "provider_account_id": provider_account_id,
            "calls": quota.calls,
            "per": quota.per,
        }
        with self._db.transaction():
            _SQL["lock"].run(self._db, values)
            _SQL["remove_old"].run(self._db, values)
            wait: timedelta | None = _SQL["find_wait"].scalar(self._db, values)
            if wait is None or wait <= timedelta():
                _SQL["record"].run(self._db, values)
                return timedelta()
        return wait

    def give_back(self, source: str, provider_account_id: int) -> None:
        """Forget the latest call, which the provider does not count."""
        _SQL["give_back"].run(self._db, {"source": source, "provider_account_id": provider_account_id})

    def block(self, source: str, provider_account_id: int, wait: timedelta) -> None:
        """Record that the provider itself says that no call is left for some time."""
        _SQL["block"].run(self._db, {"source": source, "provider_account_id": provider_account_id, "wait": wait})


def count_used(db: Connection, *, provider: str, source: str, quota: Quota) -> QuotaUse:
    """Return how much of the quotas of a source the active logins of a provider have used."""
    values = {"provider": provider, "source": source, "calls": quota.calls, "per": quota.per}
    (use,) = _SQL["count_used"].objects(db, QuotaUse, values)
    return use
