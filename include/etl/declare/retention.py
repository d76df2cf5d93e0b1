"""How long things are kept."""

from dataclasses import dataclass, fields
from datetime import timedelta

from etl.declare.validation import require_duration
from etl.errors import DeclarationError

_MIN_RETENTION = timedelta(days=1)
"""Longer than any task may run, with its retries."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long each kind of thing is kept; maintenance removes what is older.

    Parameters
    ----------
    raw_batches
        Pages as the provider sent them, from when they were sealed; a batch that was not loaded is never removed.
    typed_batches
        Parquet files, from when they were written; they can be made again from raw batches.
    rejects
        Records that were left out, with their reasons.
    history
        What tells of runs: chunks, accounts that were left out, replays.
    deliveries
        Whom a run of a notice told what, from when the run ended. It is what keeps anybody from being told twice, so
        it must be longer than any notice looks back in its statement `recipients`: one that tells of the
        transactions of the last week is safe with 400 days, one that tells of all that there ever were is not.
    unfinished
        Files that their task did not finish: pages that were never sealed, drafts, objects without a row.
    metadata
        Airflow's own records of runs; the last run of each Dag stays.
    audit_log
        Airflow's record of who did what.
    """

    raw_batches: timedelta
    typed_batches: timedelta
    rejects: timedelta
    history: timedelta
    deliveries: timedelta
    unfinished: timedelta
    metadata: timedelta
    audit_log: timedelta

    def __post_init__(self) -> None:
        for field in fields(self):
            kept = getattr(self, field.name)
            require_duration("retention", field.name, kept)
            if kept < _MIN_RETENTION:
                raise DeclarationError(
                    f"retention: {field.name} is {kept}; it must be at least {_MIN_RETENTION}, "
                    "or what a running task still needs would be removed"
                )
