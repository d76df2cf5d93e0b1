"""A file of made-up purchases, as the sandbox bank serves them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

DIRECTORATES = 50
"""Each is an item of the bank, and all of them together are one chunk of transactions."""
SPAN = timedelta(days=365)
"""Time over which the purchases are spread."""

_CARDS = 20
_MERCHANTS = 50_000
_STRIDE = 7_919
"""Coprime to all the numbers by which purchases are dealt out."""
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
    """Write a file of so many purchases, spread evenly over the directorates and the year that ends with a day."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(_HEADER)
        rows.writerows(_purchases(count, until))


def _purchases(count: int, until: date) -> Iterator[tuple[object, ...]]:
    for row in range(count):
        drawn = row * _STRIDE
        yield (
            "made-up.csv",
            row,
            f"Directorate {row % DIRECTORATES:02}",
            f"************{drawn % _CARDS:04}",
            f"{until - timedelta(days=drawn // DIRECTORATES % SPAN.days)} 00:00:00",
            f"{drawn % 50_000 / _PENCE:.2f}",
            "GBP",
            "GBP",
            f"merchant {drawn % _MERCHANTS} of some town",
        )
