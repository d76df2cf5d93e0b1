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
from typing import NamedTuple

import psutil
from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.db.connection import Connection, connect
from etl.settings import Endpoint
from etl.sync.load import load
from etl.sync.transform import transform


class Effort(NamedTuple):
    """What a load took.

    Parameters
    ----------
    seconds
        Wall time.
    cpu_seconds
        Processor time of the loaders and of their sessions in Postgres.
    """

    seconds: float
    cpu_seconds: float


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

    def measure(self, raw_ids: Sequence[int], *, database: Endpoint, root: UPath) -> Effort:
        """Return what it took to transform and load raw batches, distributed evenly over the processes."""
        shares = [list(raw_ids[first :: self.count]) for first in range(self.count)]
        began = time.perf_counter()
        futures = [self.pool.submit(_transform_and_load, share, database, str(root)) for share in shares]
        cpu_seconds = sum(future.result() for future in futures)
        return Effort(time.perf_counter() - began, cpu_seconds)

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


def session_cpu_seconds(db: Connection) -> float:
    """Return the processor time that a session in Postgres has taken so far."""
    times = psutil.Process(db.info.backend_pid).cpu_times()
    return float(times.user + times.system)


def _transform_and_load(raw_ids: Sequence[int], database: Endpoint, root: str) -> float:
    """Return the processor time."""
    began = time.process_time()
    with connect(database) as db:
        for raw_id in raw_ids:
            transform(TRANSACTIONS, raw_id, db=db, root=UPath(root))
            load(TRANSACTIONS, raw_id, db=db, root=UPath(root))
        return time.process_time() - began + session_cpu_seconds(db)


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _import_and_wait() -> None:
    """Make a process import this module, as a worker would, and wait long enough for the others to start too."""
    gc.freeze()
    time.sleep(0.5)
