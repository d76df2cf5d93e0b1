"""Names of merchants, as they are compared and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def normalise_names(rows: pd.DataFrame) -> pd.DataFrame:
    """Write each name with single blanks and none around it."""
    names = rows["name"].str.replace(r"\s+", " ", regex=True).str.strip()
    return rows.assign(name=names)
