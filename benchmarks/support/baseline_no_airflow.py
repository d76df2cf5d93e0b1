"""The baseline of orchestration: the steps of a run in a pool of processes, without Airflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from upath import UPath

from etl.catalog.entities.transactions import TRANSACTIONS
from etl.clients import rate_limits
from etl.db.connection import connect_warehouse
from etl.settings import Endpoint, Settings
from etl.sync.download import download
from etl.sync.load import load
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.plan import plan
from etl.sync.store_raw import store_raw
from etl.sync.transform import transform

PROCESSES = 2
"""One per processor of the machine for which the goal is set."""


@dataclass(frozen=True)
class RunCost:
    """The cost of a run.

    Parameters
    ----------
    seconds
        Wall time.
    cpu
        CPU-seconds of its chunks' steps, without Postgres.
    """

    seconds: float
    cpu: float


def run(run_id: str, environment: Mapping[str, str]) -> RunCost:
    """Plan a run of transactions, and process its chunks from download to load."""
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("forkserver")) as pool:
        for future in [pool.submit(_import_and_wait) for _ in range(PROCESSES)]:
            future.result()
        began = time.perf_counter()
        with connect_warehouse(environment) as db:
            ordinals = plan(TRANSACTIONS, run_id, db=db)
        chunks = [pool.submit(_run_chunk, run_id, ordinal, dict(environment)) for ordinal in ordinals]
        cpu = sum(chunk.result() for chunk in chunks)
        return RunCost(time.perf_counter() - began, cpu)


def _run_chunk(run_id: str, ordinal: int, environment: Mapping[str, str]) -> float:
    """Run all steps of a chunk, and return their CPU-seconds."""
    began = time.process_time()
    settings = Settings.from_environment(environment)
    root = UPath(settings.raw_root)
    with connect_warehouse(environment) as db:
        download(
            TRANSACTIONS,
            run_id,
            ordinal,
            db=db,
            root=root,
            cipher=TokenCipher(settings.keys),
            endpoint=Endpoint.from_environment(TRANSACTIONS.provider.connection, environment),
            limiter=rate_limits.connect(Endpoint.from_environment("limits", environment)),
        )
        raw_id = store_raw(TRANSACTIONS, run_id, ordinal, db=db, root=root)
        transform(TRANSACTIONS, raw_id, db=db, root=root)
        load(TRANSACTIONS, raw_id, db=db, root=root)
    return time.process_time() - began


def _import_and_wait() -> None:
    """Make a process import this module, and wait long enough for the others to start too."""
    time.sleep(0.5)
