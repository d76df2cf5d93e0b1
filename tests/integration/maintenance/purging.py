"""Purges raw batches, as if they were old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from etl.catalog.entities import ENTITIES
from etl.catalog.entities.merchants import MERCHANTS
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.retention import RETENTION
from etl.maintenance.purge_storage import purge_orphans, purge_raw
from etl.maintenance.removed import PurgeResult
from etl.sync.load import load
from etl.sync.transform import transform
from tests.integration.sync.pipeline import Pipeline

AFTER_RETENTION = datetime.now(UTC) + timedelta(days=1_000)
"""A time at which everything that is created now is past every retention."""


@dataclass
class RawPurge:
    """Purges raw batches as if they were old."""

    pipeline: Pipeline

    def purge(self, *, dry_run: bool = False) -> tuple[int, int]:
        """Purge, and return the numbers of removed batches and objects."""
        removed = purge_raw(RETENTION, ENTITIES, as_of=AFTER_RETENTION, dry_run=dry_run, **self.store_arguments)
        return removed[0].count, removed[1].count

    def purge_orphans(self, *, as_of: datetime = AFTER_RETENTION, dry_run: bool = False) -> PurgeResult:
        """Remove orphaned objects."""
        (removed,) = purge_orphans(RETENTION, as_of=as_of, dry_run=dry_run, **self.store_arguments)
        return removed

    @property
    def objects(self) -> list[Path]:
        """The stored objects."""
        return sorted(Path(self.pipeline.root.path).glob("raw/**/*.zst"))

    @property
    def store_arguments(self) -> dict[str, Any]:
        """The arguments that every step takes."""
        return {"db": self.pipeline.db, "root": self.pipeline.root}


def load_for_all(pipeline: Pipeline, raw_id: int) -> None:
    """Transform and load a raw batch for every entity that reads its source."""
    for entity in (TRANSACTIONS, MERCHANTS):
        transform(entity, raw_id, db=pipeline.db, root=pipeline.root)
        load(entity, raw_id, db=pipeline.db, root=pipeline.root)
