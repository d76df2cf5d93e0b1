"""Writes a file of generated purchases, in the format that the sandbox bank reads."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

DIRECTORATES = 50
"""Each is an item of the bank; all of them form one chunk of transactions."""
SPAN = timedelta(days=365)
"""Period over which the purchases are spread."""

_CARDS = 20
_MERCHANTS = 50_000
_STRIDE = 7_919
"""Coprime to all numbers by which purchases are distributed."""
_PENCE = 100
_HEADER = (
    "source_file",
    "source_row",
    "DIRECTORATE",
    "CARD NUMBER",
    "TRANS DATE",
    "ORIGINAL GROSS AMT",
    "ORIGINAL CUR",
    "BILLING CUR CODE",
    "MERCHANT NAME",
)


def write(path: Path, count: int, *, until: date) -> None:
    """Write `count` purchases, spread evenly over the directorates and over the year that ends with the day `until`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_HEADER)
        rows.writerows(_purchases(count, until))


def _purchases(count: int, until: date) -> Iterator[tuple[object, ...]]:
    for row in range(count):
        number = row * _STRIDE
        yield (
            "made-up.csv",
            row,
            f"Directorate {row % DIRECTORATES:02}",
            f"************{number % _CARDS:04}",
            f"{until - timedelta(days=number // DIRECTORATES % SPAN.days)} 00:00:00",
            f"{number % 50_000 / _PENCE:.2f}",
            "GBP",
            "GBP",
            f"merchant {number % _MERCHANTS} of some town",
        )
