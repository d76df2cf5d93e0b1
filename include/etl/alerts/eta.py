"""When a run will be done, judged by the chunks that it has loaded and by earlier runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from etl.alerts.alert import ChunkProgress
from etl.alerts.formatting import format_duration, pluralize

_HISTORY_WEIGHT = 3
"""How many chunks of the run itself weigh as much as all that is known from earlier runs."""


@dataclass(frozen=True)
class PastRun:
    """A run that succeeded.

    Parameters
    ----------
    duration
        How long it took.
    chunks
        Its chunks; 0 if it had none.
    """

    duration: timedelta
    chunks: int = 0


@dataclass(frozen=True)
class FinishEstimate:
    """When a run will be done.

    Parameters
    ----------
    finish_at
        By estimate.
    basis
        What it rests on, for people.
    """

    finish_at: datetime
    basis: str


def estimate_finish(
    progress: ChunkProgress, history: Sequence[PastRun], *, started_at: datetime | None, as_of: datetime
) -> FinishEstimate | None:
    """Return when a run will be done, None if nothing is known to judge by.

    Parameters
    ----------
    progress
        How far it is.
    history
        Earlier runs.
    started_at
        When it started; None if it has not.
    as_of
        Now.

    Notes
    -----
    With chunks, each that is missing takes the mean of what a chunk took in this run so far and in earlier ones; the
    latter count as three chunks, so that a single slow chunk is no alarm and a run that does not move becomes one.
    Without chunks it takes as long as the median of earlier runs; one that has taken longer already is given as much
    again as it is over.
    """
    elapsed = as_of - started_at if started_at else timedelta()
    usual = _median([run.duration for run in history])
    usual_chunk = _median([run.duration / run.chunks for run in history if run.chunks])
    if progress.chunks:
        weight = _HISTORY_WEIGHT if usual_chunk else 0
        if not progress.chunks_loaded + weight:
            return None
        each = (elapsed + (usual_chunk or timedelta()) * weight) / (progress.chunks_loaded + weight)
        remaining = each * (progress.chunks - progress.chunks_loaded)
    elif usual is None:
        return None
    else:
        remaining = abs(usual - elapsed)
    return FinishEstimate(
        as_of + remaining, _explain_basis(progress, usual, len(history), elapsed=elapsed if started_at else None)
    )


def _median(durations: Sequence[timedelta]) -> timedelta | None:
    return timedelta(seconds=median(item.total_seconds() for item in durations)) if durations else None


def _explain_basis(progress: ChunkProgress, usual: timedelta | None, runs: int, *, elapsed: timedelta | None) -> str:
    if elapsed is None:
        said = "not started yet"
    elif progress.chunks:
        said = f"{progress.chunks_loaded} of {pluralize(progress.chunks, 'chunk')} loaded in {format_duration(elapsed)}"
    else:
        said = f"under way for {format_duration(elapsed)}"
    if usual is None:
        return f"{said}; no earlier run to compare with"
    return f"{said}; earlier runs took {format_duration(usual)} (median of {runs})"
