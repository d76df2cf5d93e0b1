"""Every version of a row that is known: the superseded ones, and the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.declare.entity import PROVIDER_ACCOUNT, Entity
from etl.errors import PermanentError

_SQL = StatementFile("sync/history/versions")
_BOOKKEEPING = ("observed_at", "superseded_at", "raw_id", "outdated_at")
_REMOVALS = {
    "posted": "a posted transaction replaced it",
    "withdrawn": "the provider withdrew it",
    "absent": "a full read of its feed no longer had it",
    "replaced": "its login was linked again, and the later login has it",
}
"""Values of `removed_for` and what they mean."""


class RowUnknown(PermanentError):
    """No login, or not the given one, has a row with this id."""

    def __init__(self, entity: str, record_id: str, provider_account_id: int | None) -> None:
        where = "no login has" if provider_account_id is None else f"login {provider_account_id} does not have"
        super().__init__(
            f"{entity}: {where} the id {record_id!r}; check the id, whose case matters, and the login. "
            "A rejected record has no row: see `sluice rejects list`."
        )


@dataclass(frozen=True)
class Change:
    """A value that differs from the version before."""

    before: object
    after: object


@dataclass(frozen=True)
class Version:
    """What was known of a row from one instant to another.

    Parameters
    ----------
    observed_at, superseded_at
        From when, and until just before when; None for the current version.
    raw_id
        The raw batch that brought it.
    ended
        Why the row is no longer live, such as a removal; None while it is.
    changes
        What differs from the version before, by column; empty for the first one.
    values
        All values by column, without the key.
    """

    observed_at: datetime
    superseded_at: datetime | None
    raw_id: int
    ended: str | None
    changes: dict[str, Change]
    values: dict[str, Any]


@dataclass(frozen=True)
class RowHistory:
    """All versions of a login's row, the current one last."""

    provider_account_id: int
    versions: list[Version]


def find(db: Connection, entity: Entity, record_id: str, *, provider_account_id: int | None = None) -> list[RowHistory]:
    """Return the versions of the rows with this id: one history for each login that has it.

    Parameters
    ----------
    entity
        One that keeps its history, and whose key is the login and an id.
    provider_account_id
        The login; None to search all, which takes a look-up for each login.

    Raises
    ------
    RowUnknown
        If there is no such row.
    """
    logins = (
        _SQL[f"logins_of_{entity.name}"].scalars(db, {"id": record_id})
        if provider_account_id is None
        else [provider_account_id]
    )
    histories = []
    for login in logins:
        key = {PROVIDER_ACCOUNT: login, "id": record_id}
        superseded = _SQL[f"superseded_{entity.name}"].dicts(db, key)
        rows = [*superseded, *_SQL[entity.name].dicts(db, key)]
        if rows:
            histories.append(RowHistory(login, _to_versions(entity, rows)))
    if not histories:
        raise RowUnknown(entity.name, record_id, provider_account_id)
    return histories


def _to_versions(entity: Entity, rows: list[dict[str, Any]]) -> list[Version]:
    return [
        Version(
            observed_at=row["observed_at"],
            superseded_at=row.get("superseded_at"),
            raw_id=row["raw_id"],
            ended=_describe_end(row),
            changes={} if before is None else _compare(entity, before, row),
            values=_values(entity, row),
        )
        for before, row in pairwise([None, *rows])
        if row is not None
    ]


def _compare(entity: Entity, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    old_values = _values(entity, before)
    return {
        name: Change(old_values.get(name), value)
        for name, value in _values(entity, after).items()
        if value != old_values.get(name)
    }


def _values(entity: Entity, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in (*entity.key, *_BOOKKEEPING)}


def _describe_end(row: Mapping[str, Any]) -> str | None:
    if row.get("removed_at") is not None:
        return f"removed: {_REMOVALS.get(row['removed_for'], row['removed_for'])}"
    if row.get("closed_on") is not None:
        return f"closed on {row['closed_on']}: the login's snapshot no longer had it, or a later login has it"
    return None
