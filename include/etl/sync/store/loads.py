"""Loads: for every batch that an entity loaded or replayed, how many of its records had which result."""

from collections.abc import Collection, Iterable
from dataclasses import asdict, astuple, dataclass

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("sync/loads")


@dataclass(frozen=True)
class LoadCounts:
    """Numbers of records of a batch, by the result of its load.

    Parameters
    ----------
    read
        All records; the sum of the others.
    inserted, updated, removed
        Records that changed the core table.
    unchanged
        Records that were equal to the row in the core table.
    superseded
        Records that a later record replaces, in the same batch or loaded before.
    stale
        Records of accounts whose cursor another batch moved first.
    rejected
        Records that could not be typed or broke a rule.
    quarantined
        Records of logins that were not loaded, since too many of their records were rejected; all of their records.
    """

    read: int
    inserted: int
    updated: int
    unchanged: int
    removed: int
    superseded: int
    stale: int
    rejected: int
    quarantined: int


def add_up(parts: Iterable[LoadCounts]) -> LoadCounts:
    """Return the counts of a batch that was loaded in parts."""
    return LoadCounts(*map(sum, zip(*map(astuple, parts), strict=True)))


def lock_entity(db: Connection, *, entity: str) -> None:
    """Exclude every other load of the entity until the transaction ends; for rows that belong to no single login."""
    locks.acquire_until_commit(db, f"load.{entity}")


def find(db: Connection, *, raw_id: int, entity: str, version: int) -> LoadCounts | None:
    """Return the counts of a batch that this version has loaded; None if it has not."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    return _SQL["find"].first(db, LoadCounts, batch)


def had_loaded(db: Connection, *, entity: str, run_id: str) -> bool:
    """Return whether the entity had loaded any batch before a run was planned."""
    return bool(_SQL["had_loaded"].scalar(db, {"entity": entity, "run_id": run_id}))


def was_loaded(db: Connection, *, raw_id: int, entity: str) -> bool:
    """Return whether any version of the entity has loaded the batch."""
    return bool(_SQL["was_loaded"].scalar(db, {"raw_id": raw_id, "entity": entity}))


def find_later(
    db: Connection, *, raw_id: int, entity: str, provider_account_ids: Collection[int] | None = None
) -> list[int]:
    """Return the loaded batches that were sealed after batch `raw_id`, in the order in which they were sealed.

    Parameters
    ----------
    provider_account_ids
        Only those that may hold one of these logins; None for all.
    """
    logins = None if provider_account_ids is None else sorted(provider_account_ids)
    return _SQL["find_later"].scalars(db, {"raw_id": raw_id, "entity": entity, "provider_account_ids": logins})


def record(db: Connection, counts: LoadCounts, *, raw_id: int, entity: str, version: int) -> None:
    """Record the counts of a first load; the table refuses counts that do not add up."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    _SQL["record"].run(db, {**batch, **asdict(counts)})


def record_replay(db: Connection, counts: LoadCounts, *, raw_id: int, entity: str, version: int) -> None:
    """Record the counts of a replay; the table refuses counts that do not add up."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    _SQL["record_replay"].run(db, {**batch, **asdict(counts)})


def accept(db: Connection, counts: LoadCounts, *, raw_id: int, entity: str, version: int) -> None:
    """Move the records of a quarantined login of a loaded batch to what became of them when they were accepted."""
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    _SQL["accept"].run(db, {**batch, **asdict(counts)})
