"""Field warnings: optional fields that were bad and are null in the row, and amounts that were rounded, counted."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from etl.db import locks
from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.records.faults import WarningCount

_SQL = StatementFile("sync/field_warnings")


@dataclass(frozen=True)
class WarningSummary:
    """A field of an entity that is often bad.

    Parameters
    ----------
    entity, path, rule
        The entity, the path of the field without list positions, such as `added[].datetime`, and the rule it broke.
    records, logins
        How many records had a bad field there, and of how many logins.
    raw_id
        The latest raw batch with one.
    found
        What the field held there.
    """

    entity: str
    path: str
    rule: str
    records: int
    logins: int
    raw_id: int
    found: str


def replace(db: Connection, counts: Iterable[WarningCount], *, raw_id: int, entity: str, version: int) -> int:
    """Store the warnings of a batch in place of earlier ones, and return how many fields were bad."""
    fields = 0
    batch = {"raw_id": raw_id, "entity": entity}
    with db.transaction(), db.cursor() as cursor:
        locks.acquire_until_commit(db, f"field_warnings.{entity}.{raw_id}")
        _SQL["clear"].run(db, batch)
        with cursor.copy(_SQL["copy"]) as copy:
            for each in counts:
                origin = (raw_id, entity, version, each.provider_account_id)
                copy.write_row((*origin, each.path, each.rule, each.records, each.line, each.found))
                fields += each.records
    return fields


def summaries(
    db: Connection, *, entities: Collection[str], raw_id: int | None = None, limit: int
) -> list[WarningSummary]:
    """Return which fields of some entities were bad, the most frequent first.

    Parameters
    ----------
    raw_id
        Only in this raw batch; None for any.
    limit
        Most summaries to return.
    """
    values = {"entities": list(entities), "raw_id": raw_id, "limit": limit}
    return _SQL["summaries"].objects(db, WarningSummary, values)


def count_of_run(db: Connection, *, entity: str, run_id: str) -> int:
    """Return how many fields were bad in the records of a run."""
    return int(_SQL["count_of_run"].scalar(db, {"entity": entity, "run_id": run_id}))
