"""Chunks: bounded, half-open ranges of surrogate ids, and how many of them a run gets."""

from dataclasses import dataclass
from datetime import date

from etl.errors import SluiceError


class EmptyChunk(SluiceError, ValueError):
    """A chunk holds nothing."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__(f"chunk {start}–{stop} is empty; stop must exceed start")


class EmptyWindow(SluiceError, ValueError):
    """A window of days holds none."""

    def __init__(self, first: date, last: date) -> None:
        super().__init__(f"window {first} to {last} is empty; its last day must not lie before its first")


@dataclass(frozen=True)
class Chunk:
    """The ids from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.stop <= self.start:
            raise EmptyChunk(self.start, self.stop)

    def __contains__(self, identifier: int) -> bool:
        """Tell whether an id lies in the chunk."""
        return self.start <= identifier < self.stop

    def __str__(self) -> str:
        """Return the first and the last id, as shown in the grid."""
        return f"{self.start}–{self.stop - 1}"


@dataclass(frozen=True)
class Days:
    """The days from `first` to `last`, both included, as providers and their users count them."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise EmptyWindow(self.first, self.last)

    def __str__(self) -> str:
        """Return the days, as shown in the grid."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"


def count_chunks(rows: int, *, size: int, maximum: int) -> int:
    """Return how many chunks `rows` ids are cut into: enough that none exceeds `size`, but at most `maximum`.

    Parameters
    ----------
    rows
        Ids to cut; none gives no chunk.
    size
        Ids that a chunk should hold at most.
    maximum
        Most chunks; above `size * maximum` ids, chunks grow wider instead.

    Raises
    ------
    ValueError
        If rows is negative, or size or maximum is below 1.
    """
    if rows < 0 or size < 1 or maximum < 1:
        raise ValueError(f"{rows} rows in at most {maximum} chunks of {size}: sizes start at 1, rows at 0")
    return min(-(-rows // size), maximum)
