"""Hooks of the entity `merchants`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def normalise_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with each run of whitespace in `name` collapsed to one space, and none around it."""
    names = rows["name"].str.replace(r"\s+", " ", regex=True).str.strip()
    return rows.assign(name=names)
