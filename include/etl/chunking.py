"""Chunks (half-open ranges of surrogate ids), their number in a run, and the days of a backfill window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from etl.errors import SluiceError


class EmptyChunk(SluiceError, ValueError):
    """A chunk contains no ids."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(f"chunk {start}–{stop} is empty; stop must exceed start")


class EmptyWindow(SluiceError, ValueError):
    """A window contains no days."""

    def __init__(self, first: date, last: date) -> None:
        super().__init__(f"window {first} to {last} is empty; its last day must not be before its first")


@dataclass(frozen=True)
class Chunk:
    """The ids from `start` (inclusive) to `stop` (exclusive)."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise EmptyChunk(self.start, self.stop)

    def __contains__(self, identifier: int) -> bool:
        """Return whether an id is in the chunk."""
        return self.start <= identifier < self.stop

    def __str__(self) -> str:
        """Return the first and the last id, as shown in Airflow's grid."""
        return f"{self.start}–{self.stop - 1}"


@dataclass(frozen=True)
class DayRange:
    """The days from `first` to `last`, both inclusive, as providers and their users count them."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise EmptyWindow(self.first, self.last)

    def split(self, size: int) -> list[DayRange]:
        """Return parts of at most `size` days, the earliest first."""
        starts = range(0, (self.last - self.first).days + 1, size)
        firsts = [self.first + timedelta(days=start) for start in starts]
        return [DayRange(first, min(first + timedelta(days=size - 1), self.last)) for first in firsts]

    def __str__(self) -> str:
        """Return the days, as shown in Airflow's grid."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def count_chunks(rows: int, *, size: int, maximum: int) -> int:
    """Return how many chunks `rows` ids are divided into: enough that none exceeds `size`, but at most `maximum`.

    Parameters
    ----------
    rows
        Ids to divide; 0 gives 0 chunks.
    size
        Maximum ids in a chunk.
    maximum
        Maximum chunks; above `size * maximum` ids, chunks exceed `size` instead.

    Raises
    ------
    ValueError
        If rows is negative, or size or maximum is below 1.
    """
    if rows < 0 or size < 1 or maximum < 1:
        raise ValueError(
            f"{rows} rows in at most {maximum} chunks of {size}: size and maximum must be at least 1, rows at least 0"
        )
    return min(-(-rows // size), maximum)
