"""Quarantines: logins whose latest batch of an entity was not loaded.

Too many of its records were rejected, or its pages killed the process that read them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
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
        The most frequent path and rule among the rejects; the rule is `KILLED` if the pages killed the process.
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
    quarantined_at: datetime
    last_failed_at: datetime
    failures: int


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
