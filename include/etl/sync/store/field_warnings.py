"""Field warnings: optional fields that were bad and are null in the row, and amounts that were rounded, counted."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.sync.records.faults import WarningCount

SUMMARIZED_FOR = timedelta(days=30)
"""Age up to which warnings are summed up: the table keeps those of more than a year."""

_PAGE_ROWS = 1_000
"""Warnings that one statement stores."""
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
    batch = {"raw_id": raw_id, "entity": entity, "version": version}
    ordered = sorted(counts, key=lambda each: (each.provider_account_id, each.path, each.rule))
    with db.transaction():
        _SQL["clear"].run(db, batch)
        for first in range(0, len(ordered), _PAGE_ROWS):
            _SQL["store"].run(db, {**batch, **_columns(ordered[first : first + _PAGE_ROWS])})
    return sum(each.records for each in ordered)


def summaries(
    db: Connection, *, entities: Collection[str], raw_id: int | None = None, limit: int
) -> list[WarningSummary]:
    """Return which fields of some entities were bad, the most frequent first.

    Parameters
    ----------
    raw_id
        Only in this raw batch; None for the warnings of the last `SUMMARIZED_FOR`.
    limit
        Most summaries to return.
    """
    values = {"entities": list(entities), "raw_id": raw_id, "summarized_for": SUMMARIZED_FOR, "limit": limit}
    return _SQL["summaries"].objects(db, WarningSummary, values)


def count_of_run(db: Connection, *, entity: str, run_id: str) -> int:
    """Return how many fields were bad in the records of a run."""
    return int(_SQL["count_of_run"].scalar(db, {"entity": entity, "run_id": run_id}))


def _columns(page: Sequence[WarningCount]) -> dict[str, object]:
    return {
        "provider_account_ids": [each.provider_account_id for each in page],
        "paths": [each.path for each in page],
        "rules": [each.rule for each in page],
        "records": [each.records for each in page],
        "lines": [each.line for each in page],
        "found": [each.found for each in page],
    }
