"""`python -m benchmarks.download`: how fast pages are downloaded and sealed, against a loop that discards them.

Runs the steps download and store_raw of one chunk in one process; the declared rate limits are checked, but set out of
reach. The baseline is a bare aiohttp loop that makes the same requests, with the same concurrency, and neither parses
nor stores the responses. Both sides use the sandbox bank, which generates each page on request, with its limits off;
and a bank with prepared answers (`canned_bank`), which either delays each answer, like a distant provider, or answers
at once, so that nothing but work is measured.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from upath import UPath

from benchmarks.support import baseline_aiohttp, canned_bank, canned_logins, home, known_limits, result, unlimited_bank
from benchmarks.support.canned_bank import Shape
from benchmarks.support.result import BenchmarkResult, Spread
from dev.demo.enrol import enrol
from dev.stack.plan import StackOptions
from dev.stack.up import StackScope, up
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.clients import rate_limits
from etl.clients.rate_limits import Limiter
from etl.db import migrations
from etl.db.connection import Connection, connect_warehouse
from etl.declare.provider import RateLimit
from etl.settings import Endpoint, Settings
from etl.sync.download import download
from etl.sync.logins.store.token_cipher import TokenCipher
from etl.sync.plan import plan
from etl.sync.store_raw import store_raw

LOGINS = 50
SHAPES = tuple(Shape(LOGINS, pages=8, records=500, latency=latency) for latency in (0.0, 0.1))
REPETITIONS = 3
MIN_SHARE = 0.8
"""Lower bound of pages per second, as a share of the bare loop's."""

_CALLS = 600_000_000
_ENTITY = replace(
    TRANSACTIONS,
    source=replace(
        TRANSACTIONS_SYNC,
        limits=tuple(
            RateLimit(limit.scope, calls=_CALLS, per=timedelta(hours=1), burst=_CALLS // 2)
            for limit in TRANSACTIONS_SYNC.limits
        ),
    ),
)
_DELETE_CHUNKS = "truncate etl.chunks cascade"

Pairs: TypeAlias = Sequence[tuple[float, float]]
"""Seconds of the bare loop and of the steps, for each repetition."""


@dataclass(frozen=True)
class _StepRunner:
    """The connections and keys that the steps need."""

    db: Connection
    root: UPath
    cipher: TokenCipher
    limiter: Limiter

    def pairs(
        self, bank: Endpoint, logins: int, repetitions: int, *, label: str, console: Console
    ) -> tuple[int, Pairs]:
        """Return the number of pages of all logins, and the seconds of both sides, which take turns in going first."""
        self._seconds(bank, "recorded")
        requests = baseline_aiohttp.recorded_requests(self.db, root=self.root, cipher=self.cipher)
        if len(requests) != logins:
            sys.exit(f"error: pages of {len(requests)} logins were sealed, not of {logins}")
        pairs = []
        for repetition in range(repetitions):
            bare_first = baseline_aiohttp.measure_requests(requests, bank=bank) if repetition % 2 else None
            ours = self._seconds(bank, f"benchmark {repetition}")
            bare = bare_first or baseline_aiohttp.measure_requests(requests, bank=bank)
            pairs.append((bare, ours))
            console.print(f"{label}: {repetition + 1} of {repetitions}: bare {bare:.2f} s, steps {ours:.2f} s")
        shutil.rmtree(self.root.path)
        return sum(map(len, requests)), pairs

    def _seconds(self, bank: Endpoint, run_id: str) -> float:
        """Return the seconds that it takes to download and seal all pages."""
        self.db.execute(_DELETE_CHUNKS)
        began = time.perf_counter()
        for ordinal in plan(_ENTITY, run_id, db=self.db):
            download(
                _ENTITY,
                run_id,
                ordinal,
                db=self.db,
                root=self.root,
                cipher=self.cipher,
                endpoint=bank,
                limiter=self.limiter,
            )
            store_raw(_ENTITY, run_id, ordinal, db=self.db, root=self.root)
        return time.perf_counter() - began


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Download fewer pages, once; save nothing.")] = False,
) -> None:
    """Measure, print and save the results; end with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    repetitions = 1 if quick else REPETITIONS
    with home.temporary() as folder:
        stack = up(
            folder,
            scope=StackScope.SERVERS,
            caller_environment=home.caller_environment(),
            options=StackOptions(ui_port=None),
            say=console.print,
        )
        with connect_warehouse(stack.environment) as db:
            migrations.migrate(db, ENTITIES)
            runner = _step_runner(db, folder.parent, stack.environment)
            results = [
                *(
                    _measure_canned_bank(runner, replace(shape, pages=2) if quick else shape, repetitions, console)
                    for shape in SHAPES
                ),
                _measure_sandbox_bank(runner, stack.environment, 5 if quick else LOGINS, repetitions, console),
            ]
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.download")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _step_runner(db: Connection, folder: Path, environment: Mapping[str, str]) -> _StepRunner:
    return _StepRunner(
        db,
        UPath((folder / "raw").as_uri()),
        TokenCipher(Settings.from_environment(environment).keys),
        rate_limits.connect(Endpoint.from_environment("limits", environment)),
    )


def _measure_canned_bank(runner: _StepRunner, shape: Shape, repetitions: int, console: Console) -> BenchmarkResult:
    """Compare both sides on a bank with prepared answers."""
    canned_logins.enrol(runner.db, runner.cipher, shape.logins)
    label = f"each {shape.latency * 1000:.0f} ms on its way" if shape.latency else "answered at once"
    with canned_bank.running(shape) as url:
        pages, pairs = runner.pairs(Endpoint(url), shape.logins, repetitions, label=label, console=console)
    if pages != shape.logins * shape.pages:
        sys.exit(f"error: {pages} pages were sealed, not {shape.logins * shape.pages}")
    return _result(pages, pairs, label, known_limits.NO_LATENCY)


def _measure_sandbox_bank(
    runner: _StepRunner, environment: Mapping[str, str], logins: int, repetitions: int, console: Console
) -> BenchmarkResult:
    """Compare both sides on a bank that generates each answer on request."""
    canned_logins.delete_all(runner.db)
    with unlimited_bank.running(environment) as with_bank:
        enrol(logins, environment=with_bank)
        bank = Endpoint.from_environment(PLAID.connection, with_bank)
        pages, pairs = runner.pairs(bank, logins, repetitions, label="by the sandbox bank", console=console)
    return _result(pages, pairs, "made by the sandbox bank when it is asked")


def _result(pages: int, pairs: Pairs, label: str, known_limit: str = "") -> BenchmarkResult:
    share = Spread.of([bare / ours for bare, ours in pairs])
    detail = {
        "pages": pages,
        "seconds_bare_and_steps": [[round(each, 2) for each in pair] for pair in pairs],
        "pages_per_second_bare": round(pages / Spread.of([bare for bare, _ in pairs]).median),
        "pages_per_second_steps": round(pages / Spread.of([ours for _, ours in pairs]).median),
    }
    return BenchmarkResult(
        f"download and store_raw of {pages} pages, {label}",
        f">= {MIN_SHARE} x the pages/s of a bare loop",
        f"{share} x",
        share.median >= MIN_SHARE,
        detail,
        known_limit,
    )


if __name__ == "__main__":
    typer.run(main)
