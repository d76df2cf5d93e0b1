"""Retention: how long each kind of data is kept."""

from dataclasses import dataclass, fields
from datetime import timedelta

from etl.declare.validation import require_duration
from etl.errors import DeclarationError

_MIN_RETENTION = timedelta(days=1)
"""Longer than any task may run, including its retries."""


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long each kind of data is kept; maintenance removes what is older.

    Rows, their superseded versions and users' corrections are kept for good.

    Parameters
    ----------
    raw_batches
        Pages as the provider sent them, since they were sealed; a batch that was not loaded, or that has open rejects,
        a quarantined login or an undecided reconciliation, is never removed.
    typed_batches
        Arrow files, since they were written; they can be created again from raw batches.
    rejects
        Rejected records, with their reasons, since a later record of theirs was loaded; and warnings of bad fields.
    history
        History of runs: chunks, skipped accounts, reconciliations that nobody has to decide, replays.
    deliveries
        What a run of a notice sent to whom, since the run ended. These rows prevent duplicate messages, so this must be
        longer than the statement `recipients` of any notice looks back: a notice about the transactions
        of the last week is safe with 400 days, one about all transactions that ever were is not.
    unfinished
        Files of tasks that did not finish: pages that were never sealed, drafts, objects without a row.
    metadata
        Airflow's own records of runs; the last run of each Dag is kept.
    audit_log
        Airflow's audit log.
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
            duration = getattr(self, field.name)
            require_duration("retention", field.name, duration)
            if duration < _MIN_RETENTION:
                raise DeclarationError(
                    f"retention: {field.name} is {duration}; it must be at least {_MIN_RETENTION}, "
                    "or maintenance would remove what a running task still needs"
                )
