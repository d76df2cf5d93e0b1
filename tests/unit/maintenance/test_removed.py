from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.retention import RETENTION
from etl.errors import DeclarationError
from etl.maintenance.removed import PurgeResult, summarize


def test_summary_lists_removed_counts_with_sizes_and_skips_zeros() -> None:
    removed = [PurgeResult("raw objects", 1_200, 3_650_722_202), PurgeResult("drafts", 0), PurgeResult("chunks", 40)]
    assert summarize(removed, dry_run=False) == "removed 1,200 raw objects (3.4 GiB), 40 chunks"
    assert summarize(removed, dry_run=True).startswith(
        "nothing was removed; without dry run it would have been 1,200 raw"
    )
    assert summarize([], dry_run=False) == "removed nothing"


@pytest.mark.parametrize(
    ("unfinished", "message"),
    [(timedelta(hours=2), "must be at least 1 day"), (timedelta(), "longer than 0"), (400, "int")],
)
def test_invalid_retention_of_unfinished_files_is_refused(unfinished: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=f"retention: unfinished is .*{message}"):
        replace(RETENTION, unfinished=unfinished)  # type: ignore[arg-type]
