from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from etl.catalog.retention import RETENTION
from etl.errors import DeclarationError
from etl.maintenance.removed import PurgeResult, summarize


def test_what_was_removed_is_told_with_its_size_and_nothing_is_told_of_nothing() -> None:
    removed = [PurgeResult("raw objects", 1_200, 3_650_722_202), PurgeResult("drafts", 0), PurgeResult("chunks", 40)]
    assert summarize(removed, dry_run=False) == "removed 1,200 raw objects (3.4 GiB), 40 chunks"
    assert summarize(removed, dry_run=True).startswith(
        "nothing was removed; without dry run it would have been 1,200 raw"
    )
    assert summarize([], dry_run=False) == "removed nothing"


@pytest.mark.parametrize(
    ("kept", "found"),
    [(timedelta(hours=2), "must be at least 1 day"), (timedelta(), "longer than nothing"), (400, "int")],
)
def test_nothing_that_a_running_task_needs_can_be_declared_old(kept: object, found: str) -> None:
    with pytest.raises(DeclarationError, match=f"retention: unfinished is .*{found}"):
        replace(RETENTION, unfinished=kept)  # type: ignore[arg-type]
