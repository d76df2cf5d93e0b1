"""Retry and resolve: reopens deliveries that failed or are unknown, or drops unknown ones.

An unknown delivery may or may not have arrived. A reopened one is deferred, and due at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db import locks
from etl.db.connection import Connection
from etl.db.locks import LockTaken
from etl.errors import PermanentError
from etl.notify.store import chunks, deferrals, failed_deliveries, runs
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.runs import NoticeRun, RunState


class RunEnded(PermanentError):
    """A run was cancelled or has expired, so that its deliveries cannot be reopened."""

    def __init__(self, run: NoticeRun, detail: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} {detail}, so nothing was changed; what it did not send can "
            "only be sent by a run of another period."
        )


@dataclass(frozen=True)
class DeliveryChanges:
    """Changes to the deliveries of a run.

    Parameters
    ----------
    run
        The run, as it was before.
    deliveries
        Error class → number of deliveries that were changed.
    busy_chunks
        Ordinals of chunks that were skipped, since they are being sent.
    """

    run: NoticeRun
    deliveries: Mapping[str, int]
    busy_chunks: list[int]

    @property
    def total(self) -> int:
        """Number of deliveries of all error classes."""
        return sum(self.deliveries.values())


def retry_failed(
    run_id: int, *, error_classes: Collection[str] | None, as_of: datetime, db: Connection, dry_run: bool = False
) -> DeliveryChanges:
    """Reopen the failed deliveries of a run.

    Parameters
    ----------
    error_classes
        Only deliveries of these error classes; None for all.
    dry_run
        Count the deliveries without changing them.

    Raises
    ------
    RunEnded
        If the run was cancelled or has expired.
    """
    run = _find_sendable_run(run_id, as_of, db)
    if dry_run:
        failures = failed_deliveries.count_failures(db, run_id)
        selected = {name: count for name, count in failures.items() if error_classes is None or name in error_classes}
        return DeliveryChanges(run, selected, [])
    ordinals = failed_deliveries.list_failed_chunks(db, run_id, error_classes=error_classes)

    def reopen(ordinal: int) -> Mapping[str, int]:
        current_run = _find_sendable_run(run_id, as_of, db)
        chunk = chunks.find(db, run_id, ordinal)
        return failed_deliveries.reopen(db, current_run, chunk, state="failed", error_classes=error_classes)

    return _change_chunks(run, ordinals, reopen, db)


def resend_unknown(run_id: int, *, as_of: datetime, db: Connection, dry_run: bool = False) -> DeliveryChanges:
    """Reopen the unknown deliveries of a run; some recipients may get a message twice.

    Raises
    ------
    RunEnded
        If the run was cancelled or has expired.
    """
    run = _find_sendable_run(run_id, as_of, db)
    if dry_run:
        return DeliveryChanges(run, failed_deliveries.count_unknown(db, run_id), [])

    def reopen(ordinal: int) -> Mapping[str, int]:
        current_run = _find_sendable_run(run_id, as_of, db)
        chunk = _mark_stale_claims_unknown(run_id, ordinal, db)
        return failed_deliveries.reopen(db, current_run, chunk, state="unknown")

    return _change_chunks(run, failed_deliveries.list_unknown_chunks(db, run_id), reopen, db)


def hurry_deferred(
    run_id: int, *, error_classes: Collection[str] | None, as_of: datetime, db: Connection, dry_run: bool = False
) -> DeliveryChanges:
    """Let the deferred deliveries of a run be due now; chunks that are being sent need not be skipped.

    Raises
    ------
    RunEnded
        If the run was cancelled or has expired.
    """
    run = _find_sendable_run(run_id, as_of, db)
    if dry_run:
        return DeliveryChanges(run, deferrals.count(db, run_id, error_classes=error_classes), [])
    return DeliveryChanges(run, deferrals.hurry(db, run_id, error_classes=error_classes), [])


def drop_unknown(run_id: int, *, db: Connection, dry_run: bool = False) -> DeliveryChanges:
    """Drop the unknown deliveries of a run: they stay `unknown`, with class `dropped`, and are never sent again."""
    run = runs.find(db, run_id)
    if dry_run:
        return DeliveryChanges(run, failed_deliveries.count_unknown(db, run_id), [])

    def drop(ordinal: int) -> Mapping[str, int]:
        _mark_stale_claims_unknown(run_id, ordinal, db)
        return {"dropped": failed_deliveries.drop_unknown(db, run_id, ordinal)}

    return _change_chunks(run, failed_deliveries.list_unknown_chunks(db, run_id), drop, db)


def _change_chunks(
    run: NoticeRun, ordinals: Iterable[int], change: Callable[[int], Mapping[str, int]], db: Connection
) -> DeliveryChanges:
    """Change chunks one after the other, each under its lock; skip those that a sender holds."""
    deliveries: Counter[str] = Counter()
    busy = []
    for ordinal in ordinals:
        try:
            with locks.hold(db, f"notify.{run.run_id}.{ordinal}"):
                deliveries.update(change(ordinal))
        except LockTaken:
            busy.append(ordinal)
    return DeliveryChanges(run, dict(deliveries.most_common()), busy)


def _mark_stale_claims_unknown(run_id: int, ordinal: int, db: Connection) -> NoticeChunk:
    """Make deliveries that a killed attempt left `claimed` unknown, as the next attempt would; return their chunk."""
    return chunks.start_attempt(db, run_id, ordinal)


def _find_sendable_run(run_id: int, as_of: datetime, db: Connection) -> NoticeRun:
    run = runs.find(db, run_id)
    if run.state == RunState.CANCELLED.value:
        raise RunEnded(run, "was cancelled")
    if run.expires_at is not None and run.expires_at <= as_of:
        raise RunEnded(run, f"expired at {run.expires_at:%Y-%m-%d %H:%M} UTC")
    return run
