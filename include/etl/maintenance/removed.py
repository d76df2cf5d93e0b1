"""Results of maintenance: how many things of a kind were removed, and how to report them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT_FACTOR = 1024


@dataclass(frozen=True)
class PurgeResult:
    """Things of one kind that were removed, or would be.

    Parameters
    ----------
    label
        Their kind, in plural.
    count
        How many.
    size
        Size in bytes; 0 if unknown.
    """

    label: str
    count: int
    size: int = 0

    def __str__(self) -> str:
        return f"{self.count:,} {self.label}" + (f" ({_format_size(self.size)})" if self.size else "")


def summarize(results: Iterable[PurgeResult], *, dry_run: bool) -> str:
    """Return a sentence about what was removed, or what a dry run would have removed."""
    removed = ", ".join(str(result) for result in results if result.count)
    if dry_run:
        return f"nothing was removed; without dry run it would have been {removed or 'nothing'}"
    return f"removed {removed or 'nothing'}"


def _format_size(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < _UNIT_FACTOR:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _UNIT_FACTOR
    return f"{size:.1f} {_UNITS[-1]}"
