"""Loaders that run beside one another, each a process of its own as each task is."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import connect
from etl.settings import Endpoint
from etl.sync.load import load
from etl.sync.transform import transform


@dataclass(frozen=True)
class Loaders:
    """Processes that have imported all that they need.

    Parameters
    ----------
    pool
        The processes.
    count
        How many.
    """

    pool: ProcessPoolExecutor
    count: int

    def measure(self, raw_ids: Sequence[int], *, database: Endpoint, root: UPath) -> float:
        """Return how long it takes to transform and load some raw batches, dealt out evenly."""
        hands = [list(raw_ids[first :: self.count]) for first in range(self.count)]
        began = time.perf_counter()
        done = [self.pool.submit(_transform_and_load, hand, database, str(root)) for hand in hands]
        for each in done:
            each.result()
        return time.perf_counter() - began

    def peak_memory(self) -> int:
        """Return the most memory that the first of them has had, in bytes of VmHWM."""
        return self.pool.submit(_peak_memory).result()


@contextmanager
def running(count: int) -> Iterator[Loaders]:
    """Start so many loaders, and end them at the end."""
    with ProcessPoolExecutor(count, mp_context=get_context("forkserver")) as pool:
        for each in [pool.submit(_import_and_wait) for _ in range(count)]:
            each.result()
        yield Loaders(pool, count)


def _transform_and_load(raw_ids: Sequence[int], database: Endpoint, root: str) -> None:
    with connect(database) as db:
        for raw_id in raw_ids:
            transform(TRANSACTIONS, raw_id, db=db, root=UPath(root))
            load(TRANSACTIONS, raw_id, db=db, root=UPath(root))


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _import_and_wait() -> None:
    """Let a process import this file, as a worker would, and do nothing for so long that the others begin as well."""
    gc.freeze()
    time.sleep(0.5)
