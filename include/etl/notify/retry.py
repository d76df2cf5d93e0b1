"""Reopen: deliveries that failed, or of which nobody knows whether they arrived, are claimed again by the next walk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db import locks
from etl.db.connection import Warehouse
from etl.db.locks import LockTaken
from etl.errors import PermanentError
from etl.notify.store import chunks, retries, runs
from etl.notify.store.runs import NoticeRun, State


class RunOver(PermanentError):
    """A run sends nothing any more, whatever is reopened."""

    def __init__(self, run: NoticeRun, found: str) -> None:
        super().__init__(
            f"{run.notice} {run.period}: run {run.run_id} {found}, so nothing was changed; what it left undone is "
            "for a run of another period."
        )


@dataclass(frozen=True)
class Reopened:
    """What was done to the deliveries of a run.

    Parameters
    ----------
    run
        Which, as it was before.
    deliveries
        Error class → how many.
    busy
        Chunks that are being sent, and were left as they are.
    """

    run: NoticeRun
    deliveries: Mapping[str, int]
    busy: list[int]

    @property
    def total(self) -> int:
        """How many deliveries, of all classes."""
        return sum(self.deliveries.values())


def retry(
    run_id: int, *, classes: Collection[str] | None, as_of: datetime, warehouse: Warehouse, dry_run: bool = False
) -> Reopened:
    """Let what failed of a run be tried again.

    Parameters
    ----------
    classes
        Only what failed for these reasons; None for any.
    dry_run
        Only tell what it would be.

    Raises
    ------
    RunOver
        If the run was cancelled or has expired.
    """
    run = _still_sending(run_id, as_of, warehouse)
    if dry_run:
        failures = retries.failures(warehouse, run_id)
        wanted = {name: count for name, count in failures.items() if classes is None or name in classes}
        return Reopened(run, wanted, [])
    ordinals = retries.failed_chunks(warehouse, run_id, classes=classes)

    def reopen(ordinal: int) -> Mapping[str, int]:
        _still_sending(run_id, as_of, warehouse)
        return retries.reopen(warehouse, run_id, ordinal, state="failed", classes=classes)

    return _each(run, ordinals, reopen, warehouse)


def resend(run_id: int, *, as_of: datetime, warehouse: Warehouse, dry_run: bool = False) -> Reopened:
    """Let what is in doubt of a run be sent again; somebody may get it twice.

    Raises
    ------
    RunOver
        If the run was cancelled or has expired.
    """
    run = _still_sending(run_id, as_of, warehouse)
    if dry_run:
        return Reopened(run, retries.doubts(warehouse, run_id), [])

    def reopen(ordinal: int) -> Mapping[str, int]:
        _still_sending(run_id, as_of, warehouse)
        _settle(run_id, ordinal, warehouse)
        return retries.reopen(warehouse, run_id, ordinal, state="unknown")

    return _each(run, retries.doubtful_chunks(warehouse, run_id), reopen, warehouse)


def drop(run_id: int, *, warehouse: Warehouse, dry_run: bool = False) -> Reopened:
    """Give up what is in doubt of a run: it stays `unknown`, with the class `dropped`, and is never sent again."""
    run = runs.find(warehouse, run_id)
    if dry_run:
        return Reopened(run, retries.doubts(warehouse, run_id), [])

    def give_up(ordinal: int) -> Mapping[str, int]:
        _settle(run_id, ordinal, warehouse)
        return {"dropped": retries.drop(warehouse, run_id, ordinal)}

    return _each(run, retries.doubtful_chunks(warehouse, run_id), give_up, warehouse)


def _each(
    run: NoticeRun, ordinals: Iterable[int], change: Callable[[int], Mapping[str, int]], warehouse: Warehouse
) -> Reopened:
    """Change chunks one after the other, each under its lock; those at which a sender works are left alone."""
    deliveries: Counter[str] = Counter()
    busy = []
    for ordinal in ordinals:
        try:
            with locks.hold(warehouse, f"notify.{run.run_id}.{ordinal}"):
                deliveries.update(change(ordinal))
        except LockTaken:
            busy.append(ordinal)
    return Reopened(run, dict(deliveries.most_common()), busy)


def _settle(run_id: int, ordinal: int, warehouse: Warehouse) -> None:
    """Let what a killed attempt left claimed be in doubt, as the next attempt would."""
    chunks.open_attempt(warehouse, run_id, ordinal)


def _still_sending(run_id: int, as_of: datetime, warehouse: Warehouse) -> NoticeRun:
    run = runs.find(warehouse, run_id)
    if run.state == State.CANCELLED.value:
        raise RunOver(run, "was cancelled")
    if run.expires_at is not None and run.expires_at <= as_of:
        raise RunOver(run, f"expired at {run.expires_at:%Y-%m-%d %H:%M} UTC")
    return run
