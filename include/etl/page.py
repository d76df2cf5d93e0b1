"""A page, taken apart: the records that fit, in columns, and the faults of those that do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec


@dataclass(frozen=True)
class Fault:
    """Why a record is rejected.

    Parameters
    ----------
    path
        Place of the record or field in the page, such as `added[3].amount`.
    rule
        Rule that it broke.
    reason
        What was expected and found.
    """

    path: str
    rule: str
    reason: str


class Located(NamedTuple):
    """A record and its place in the page.

    Parameters
    ----------
    path
        Such as `added[3]`.
    records
        The record as a struct, then the one whose list holds it, and so on up; see `values`.
    """

    path: str
    records: tuple[msgspec.Struct, ...]


@dataclass
class Found:
    """Records that fit, in columns: as many values in each as there are records.

    Parameters
    ----------
    paths
        Places, such as `added[3]`.
    levels
        The records as structs, then those whose lists hold them, and so on up; see `values`.
    """

    paths: list[str] = field(default_factory=list)
    levels: list[list[msgspec.Struct]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.paths)

    def extend(self, paths: Sequence[str], levels: Sequence[Sequence[msgspec.Struct]]) -> None:
        """Append records in columns."""
        if not paths:
            return
        self.paths.extend(paths)
        self.levels = self.levels or [[] for _ in levels]
        for mine, more in zip(self.levels, levels, strict=True):
            mine.extend(more)

    def extend_each(self, located: Iterable[Located]) -> None:
        """Append records one by one."""
        if each := list(located):
            paths, records = zip(*each, strict=True)
            self.extend(paths, list(zip(*records, strict=True)))


@dataclass
class Page:
    """What a page holds, in the order in which it applies.

    Parameters
    ----------
    upserts, deletes
        Records that fit.
    faults
        Those that do not.
    """

    upserts: Found = field(default_factory=Found)
    deletes: Found = field(default_factory=Found)
    faults: list[Fault] = field(default_factory=list)
