"""Loaders that run in parallel, each in a process of its own, as tasks do."""

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
    """Processes that have imported everything they need.

    Parameters
    ----------
    pool
        The processes.
    count
        Number of processes.
    """

    pool: ProcessPoolExecutor
    count: int

    def measure(self, raw_ids: Sequence[int], *, database: Endpoint, root: UPath) -> float:
        """Return the seconds to transform and load raw batches, distributed evenly over the processes."""
        shares = [list(raw_ids[first :: self.count]) for first in range(self.count)]
        began = time.perf_counter()
        futures = [self.pool.submit(_transform_and_load, share, database, str(root)) for share in shares]
        for future in futures:
            future.result()
        return time.perf_counter() - began

    def peak_memory(self) -> int:
        """Return the peak memory (VmHWM) of a process in bytes; meant for a single loader."""
        return self.pool.submit(_peak_memory).result()


@contextmanager
def running(count: int) -> Iterator[Loaders]:
    """Start `count` loaders, and stop them when the block ends."""
    with ProcessPoolExecutor(count, mp_context=get_context("forkserver")) as pool:
        for future in [pool.submit(_import_and_wait) for _ in range(count)]:
            future.result()
        yield Loaders(pool, count)


def _transform_and_load(raw_ids: Sequence[int], database: Endpoint, root: str) -> None:
    with connect(database) as db:
        for raw_id in raw_ids:
            transform(TRANSACTIONS, raw_id, db=db, root=UPath(root))
            load(TRANSACTIONS, raw_id, db=db, root=UPath(root))


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _import_and_wait() -> None:
    """Make a process import this module, as a worker would, and wait long enough for the others to start too."""
    gc.freeze()
    time.sleep(0.5)
