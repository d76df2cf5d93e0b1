"""Reopen: deliveries that failed, or of which nobody knows whether they arrived, are claimed again by the next walk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db import locks
from etl.db.connection import Connection
from etl.db.locks import LockTaken
from etl.errors import PermanentError
from etl.notify.store import chunks, retries, runs
from etl.notify.store.runs import NoticeRun, RunState


class RunEnded(PermanentError):
    """A run sends nothing any more, whatever is reopened."""

    def __init__(self, run: NoticeRun, detail: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} {detail}, so nothing was changed; what it left undone is "
            "for a run of another period."
        )


@dataclass(frozen=True)
class DeliveryChanges:
    """What was done to the deliveries of a run.

    Parameters
    ----------
    run
        Which, as it was before.
    deliveries
        Error class → how many.
    busy_chunks
        Chunks that are being sent, and were left as they are.
    """

    run: NoticeRun
    deliveries: Mapping[str, int]
    busy_chunks: list[int]

    @property
    def total(self) -> int:
        """How many deliveries, of all classes."""
        return sum(self.deliveries.values())


def retry_failed(
    run_id: int, *, error_classes: Collection[str] | None, as_of: datetime, db: Connection, dry_run: bool = False
) -> DeliveryChanges:
    """Let what failed of a run be tried again.

    Parameters
    ----------
    error_classes
        Only what failed for these reasons; None for any.
    dry_run
        Only tell what it would be.

    Raises
    ------
    RunOver
        If the run was cancelled or has expired.
    """
    run = _find_sendable_run(run_id, as_of, db)
    if dry_run:
        failures = retries.count_failures(db, run_id)
        wanted = {name: count for name, count in failures.items() if error_classes is None or name in error_classes}
        return DeliveryChanges(run, wanted, [])
    ordinals = retries.list_failed_chunks(db, run_id, error_classes=error_classes)

    def reopen(ordinal: int) -> Mapping[str, int]:
        _find_sendable_run(run_id, as_of, db)
        return retries.reopen(db, run_id, ordinal, state="failed", error_classes=error_classes)

    return _change_chunks(run, ordinals, reopen, db)


def resend_unknown(run_id: int, *, as_of: datetime, db: Connection, dry_run: bool = False) -> DeliveryChanges:
    """Let what is in doubt of a run be sent again; somebody may get it twice.

    Raises
    ------
    RunOver
        If the run was cancelled or has expired.
    """
    run = _find_sendable_run(run_id, as_of, db)
    if dry_run:
        return DeliveryChanges(run, retries.count_unknown(db, run_id), [])

    def reopen(ordinal: int) -> Mapping[str, int]:
        _find_sendable_run(run_id, as_of, db)
        _mark_stale_claims_unknown(run_id, ordinal, db)
        return retries.reopen(db, run_id, ordinal, state="unknown")

    return _change_chunks(run, retries.list_unknown_chunks(db, run_id), reopen, db)


def drop_unknown(run_id: int, *, db: Connection, dry_run: bool = False) -> DeliveryChanges:
    """Give up what is in doubt of a run: it stays `unknown`, with the class `dropped`, and is never sent again."""
    run = runs.find(db, run_id)
    if dry_run:
        return DeliveryChanges(run, retries.count_unknown(db, run_id), [])

    def give_up(ordinal: int) -> Mapping[str, int]:
        _mark_stale_claims_unknown(run_id, ordinal, db)
        return {"dropped": retries.drop_unknown(db, run_id, ordinal)}

    return _change_chunks(run, retries.list_unknown_chunks(db, run_id), give_up, db)


def _change_chunks(
    run: NoticeRun, ordinals: Iterable[int], change: Callable[[int], Mapping[str, int]], db: Connection
) -> DeliveryChanges:
    """Change chunks one after the other, each under its lock; those at which a sender works are left alone."""
    deliveries: Counter[str] = Counter()
    busy = []
    for ordinal in ordinals:
        try:
            with locks.hold(db, f"notify.{run.run_id}.{ordinal}"):
                deliveries.update(change(ordinal))
        except LockTaken:
            busy.append(ordinal)
    return DeliveryChanges(run, dict(deliveries.most_common()), busy)


def _mark_stale_claims_unknown(run_id: int, ordinal: int, db: Connection) -> None:
    """Let what a killed attempt left claimed be in doubt, as the next attempt would."""
    chunks.start_attempt(db, run_id, ordinal)


def _find_sendable_run(run_id: int, as_of: datetime, db: Connection) -> NoticeRun:
    run = runs.find(db, run_id)
    if run.state == RunState.CANCELLED.value:
        raise RunEnded(run, "was cancelled")
    if run.expires_at is not None and run.expires_at <= as_of:
        raise RunEnded(run, f"expired at {run.expires_at:%Y-%m-%d %H:%M} UTC")
    return run
