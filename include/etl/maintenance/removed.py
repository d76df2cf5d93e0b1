"""What maintenance removed, as it is told."""

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
        Bytes that they took; 0 if that is not known.
    """

    label: str
    count: int
    size: int = 0

    def __str__(self) -> str:
        return f"{self.count:,} {self.label}" + (f" ({_format_size(self.size)})" if self.size else "")


def summarize(results: Iterable[PurgeResult], *, dry_run: bool) -> str:
    """Return what was removed, or what a dry run would have removed, in words."""
    found = ", ".join(str(each) for each in results if each.count)
    if dry_run:
        return f"nothing was removed; without dry run it would have been {found or 'nothing'}"
    return f"removed {found or 'nothing'}"


def _format_size(size: float) -> str:
    for unit in _UNITS[:-1]:
        if size < _UNIT_FACTOR:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= _UNIT_FACTOR
    return f"{size:.1f} {_UNITS[-1]}"
