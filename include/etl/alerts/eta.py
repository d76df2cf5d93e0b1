"""Estimates when a run will finish, from its loaded chunks and from earlier runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from etl.alerts.alert import ChunkProgress
from etl.alerts.formatting import format_duration, pluralize

_HISTORY_WEIGHT = 3
"""Weight of all earlier runs together, in chunks of the current run."""


@dataclass(frozen=True)
class PastRun:
    """A run that succeeded.

    Parameters
    ----------
    duration
        How long it took.
    chunks
        Number of its chunks; 0 if it had none.
    """

    duration: timedelta
    chunks: int = 0


@dataclass(frozen=True)
class FinishEstimate:
    """When a run will finish.

    Parameters
    ----------
    finish_at
        Estimated end.
    basis
        What the estimate is based on, in words.
    """

    finish_at: datetime
    basis: str


def estimate_finish(
    progress: ChunkProgress, history: Sequence[PastRun], *, started_at: datetime | None, as_of: datetime
) -> FinishEstimate | None:
    """Return when a run will finish, None if there is nothing to estimate it from.

    Parameters
    ----------
    progress
        Chunks of the run, planned and loaded.
    history
        Earlier runs.
    started_at
        Start of the run; None if it has not started.
    as_of
        Now.

    Notes
    -----
    With chunks, each remaining chunk is assumed to take the mean duration of the chunks of this run so far and of
    earlier runs. Earlier runs count as three chunks at their median duration per chunk, so that a single slow chunk
    raises no alarm and a run without progress does.

    Without chunks, assume the median duration of earlier runs. A run that already exceeds it by x is assumed to take
    another x.
    """
    elapsed = as_of - started_at if started_at else timedelta()
    median_duration = _median([run.duration for run in history])
    median_chunk_duration = _median([run.duration / run.chunks for run in history if run.chunks])
    if progress.chunks:
        weight = _HISTORY_WEIGHT if median_chunk_duration else 0
        if not progress.chunks_loaded + weight:
            return None
        chunk_duration = (elapsed + (median_chunk_duration or timedelta()) * weight) / (progress.chunks_loaded + weight)
        remaining = chunk_duration * (progress.chunks - progress.chunks_loaded)
    elif median_duration is None:
        return None
    else:
        remaining = abs(median_duration - elapsed)
    basis = _explain_basis(progress, median_duration, len(history), elapsed=elapsed if started_at else None)
    return FinishEstimate(as_of + remaining, basis)


def _median(durations: Sequence[timedelta]) -> timedelta | None:
    return timedelta(seconds=median(item.total_seconds() for item in durations)) if durations else None


def _explain_basis(
    progress: ChunkProgress, median_duration: timedelta | None, run_count: int, *, elapsed: timedelta | None
) -> str:
    if elapsed is None:
        current = "not started yet"
    elif progress.chunks:
        loaded = f"{progress.chunks_loaded} of {pluralize(progress.chunks, 'chunk')}"
        current = f"{loaded} loaded in {format_duration(elapsed)}"
    else:
        current = f"running for {format_duration(elapsed)}"
    if median_duration is None:
        return f"{current}; no earlier run to compare with"
    return f"{current}; earlier runs took {format_duration(median_duration)} (median of {run_count})"
