"""Quarantines: logins whose latest batch of an entity was not loaded.

Too many of its records were rejected, or its pages killed the process that read them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.fault import catalog_path
from etl.sync.store.typed_batches import CursorMove

KILLED = "killed"
"""Rule of a login whose pages killed the process."""

_SQL = StatementFile("sync/quarantines")


@dataclass(frozen=True)
class Quarantine:
    """A quarantined login.

    Parameters
    ----------
    provider_account_id, entity
        The login, and the entity of which it is not loaded.
    source
        The source of the batches that fail: a window of past days is quarantined by itself.
    raw_id
        The latest batch that was not loaded; None if there is none, since the login killed its download.
    read, rejected
        Records of the login in that batch, and how many of them were rejected.
    path, rule
        The most frequent path and rule among the rejects; see `is_killed`.
    reason
        What happened, in words.
    quarantined_at, last_failed_at, failures
        Since when, the last time, and how many times in a row.
    """

    provider_account_id: int
    entity: str
    source: str
    raw_id: int | None
    read: int
    rejected: int
    path: str
    rule: str
    reason: str
    quarantined_at: datetime
    last_failed_at: datetime
    failures: int

    @property
    def is_killed(self) -> bool:
        """Whether its pages killed the process, so that none of its records was typed."""
        return self.rule == KILLED

    @property
    def remedy(self) -> str:
        """What a person can do about it, as the end of a sentence or as several."""
        if not self.is_killed:
            return (
                "fix the declaration and load all records with "
                f"`sluice rejects retry --entity {self.entity} --batch {self.raw_id}`, or load only the valid ones "
                f"with `sluice quarantine accept {self.provider_account_id} --entity {self.entity}`."
            )
        again = f" `sluice replay {self.entity} --batch {self.raw_id}` tries this batch again." if self.raw_id else ""
        return (
            "each run tries it again: if the task's log names the memory cap, raise `memory` of its queue in "
            f"{catalog_path('queues.py')}; if not, see what in its pages kills the process.{again} "
            f"`sluice logins stop {self.provider_account_id}` leaves it out until then."
        )


def record(db: Connection, logins: Sequence[CursorMove], *, raw_id: int, entity: str) -> None:
    """Record logins that the load of a batch leaves out."""
    values = {
        "raw_id": raw_id,
        "entity": entity,
        "provider_account_ids": [login.provider_account_id for login in logins],
        "read": [login.read for login in logins],
        "rejected": [login.rejected for login in logins],
        "paths": [login.fault_path for login in logins],
        "rules": [login.fault_rule for login in logins],
        "reasons": [
            f"{login.rejected} of {login.read} records rejected, mostly {login.fault_rule} at {login.fault_path}"
            for login in logins
        ],
    }
    _SQL["record"].run(db, values)


def record_killed(
    db: Connection, provider_account_id: int, *, entity: str, source: str, raw_id: int | None, reason: str
) -> None:
    """Record a login whose pages killed the process.

    Parameters
    ----------
    source
        The source of the pages.
    raw_id
        The batch that was being typed; None if they were being downloaded.
    reason
        What happened, in words.
    """
    values = {
        "provider_account_id": provider_account_id,
        "entity": entity,
        "source": source,
        "raw_id": raw_id,
        "reason": reason,
    }
    _SQL["record_killed"].run(db, values)


def release(db: Connection, *, entity: str, source: str, own_source: str) -> None:
    """End the quarantine of the logins in `incoming_cursors`.

    Parameters
    ----------
    source
        Source of the batch that is being loaded.
    own_source
        The feed or the snapshot of the entity; `source` may be its window instead.
    """
    _SQL["release"].run(db, {"entity": entity, "source": source, "own_source": own_source})


def forget(db: Connection, provider_account_ids: Collection[int], *, raw_id: int) -> None:
    """Forget that logins were left out of a batch, since they are loaded now."""
    _SQL["forget"].run(db, {"provider_account_ids": list(provider_account_ids), "raw_id": raw_id})


def find(db: Connection, *, entity: str, provider_account_id: int) -> Quarantine | None:
    """Return the quarantine of a login; None if it is not quarantined.

    If both a window and the feed are quarantined, it is that of the window, since a load of the feed ends both.
    """
    return _SQL["find"].first(db, Quarantine, {"entity": entity, "provider_account_id": provider_account_id})


def latest(db: Connection, *, entities: Collection[str], limit: int) -> list[Quarantine]:
    """Return quarantined logins of some entities, those that failed last first.

    Parameters
    ----------
    limit
        Most to return.
    """
    return _SQL["latest"].objects(db, Quarantine, {"entities": list(entities), "limit": limit})
