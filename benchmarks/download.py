"""`python -m benchmarks.download`: how fast pages arrive and are sealed, beside a loop that throws them away.

The steps download and store_raw of one chunk, in one process, with the declared limits taken but out of reach; beside
it a bare aiohttp loop with as many requests under way, which neither parses nor keeps what it receives. The bank has
its answers ready (`canned_bank`): once it answers at once, so that nothing but work is measured, and once each answer
is on its way for a while, as from a provider; that is the case that the goal is for.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import typer
from rich.console import Console
from upath import UPath

from benchmarks import canned_bank, canned_logins, databases, home, result, tried
from benchmarks.canned_bank import Shape
from benchmarks.result import Result, Spread
from dev.stack.planning import Wishes
from dev.stack.up import Extent, up
from etl.catalog.entities import ENTITIES
from etl.catalog.entities.transactions import TRANSACTIONS
from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.declare.provider import Limit
from etl.settings import Endpoint, Settings
from etl.steps.download import download
from etl.steps.plan import plan
from etl.steps.store_raw import store_raw
from etl.stores import migrations
from etl.stores import warehouse as warehouses
from etl.stores.tokens import TokenCipher
from etl.stores.warehouse import Warehouse
from etl.wire import limits
from etl.wire.limits import Limiter

AT_ONCE = Shape(logins=50, pages=8, records=500)
FROM_AFAR = replace(AT_ONCE, latency=0.1)
REPETITIONS = 5
SHARE = 0.8
"""Least pages per second, as a share of the bare loop's."""

_CALLS = 600_000_000
_ENTITY = replace(
    TRANSACTIONS,
    source=replace(
        TRANSACTIONS_SYNC,
        limits=tuple(
            Limit(limit.scope, calls=_CALLS, per=timedelta(hours=1), burst=_CALLS // 2)
            for limit in TRANSACTIONS_SYNC.limits
        ),
    ),
)


@dataclass(frozen=True)
class _Steps:
    """What the steps are handed."""

    warehouse: Warehouse
    root: UPath
    cipher: TokenCipher
    limiter: Limiter

    def seconds(self, url: str, shape: Shape, run_id: str) -> float:
        """Return how long it takes to download and seal all pages."""
        endpoint = Endpoint(url)
        began = time.perf_counter()
        for ordinal in plan(_ENTITY, run_id, warehouse=self.warehouse):
            download(
                _ENTITY,
                run_id,
                ordinal,
                warehouse=self.warehouse,
                root=self.root,
                cipher=self.cipher,
                endpoint=endpoint,
                limiter=self.limiter,
            )
            store_raw(_ENTITY, run_id, ordinal, warehouse=self.warehouse, root=self.root)
        seconds = time.perf_counter() - began
        ((pages,),) = self.warehouse.execute("select sum(pages) from etl.raw_batches").fetchall()
        if pages != shape.logins * shape.pages:
            sys.exit(f"error: {pages} pages were sealed, not {shape.logins * shape.pages}")
        return seconds


def main(
    *,
    quick: Annotated[bool, typer.Option(envvar="QUICK", help="Fewer pages, once; nothing is kept.")] = False,
) -> None:
    """Measure, show and keep the results; ends with exit code 1 if a goal is missed."""
    console = Console(soft_wrap=True)
    results: list[Result] = []
    with home.temporary() as folder:
        stack = up(folder, extent=Extent.SERVERS, caller=home.caller(), wishes=Wishes(ui=None), say=console.print)
        for shape in (AT_ONCE, FROM_AFAR):
            smaller = replace(shape, pages=2) if quick else shape
            pairs = _pairs(smaller, 1 if quick else REPETITIONS, stack.environment, folder.parent, console)
            results.append(_result(smaller, pairs))
    result.show(results, console)
    if not quick:
        result.append(results, command="python -m benchmarks.download")
        sys.exit(0 if all(each.reached for each in results) else 1)


def _pairs(
    shape: Shape, repetitions: int, environment: Mapping[str, str], folder: Path, console: Console
) -> list[tuple[float, float]]:
    """Return the seconds of the bare loop and of the steps, in turns."""
    server = Endpoint.from_environment("warehouse", environment)
    cipher = TokenCipher(Settings.from_environment(environment).keys)
    limiter = limits.connect(Endpoint.from_environment("limits", environment))
    root = UPath((folder / "raw").as_uri())
    pairs = []
    with canned_bank.opened(shape) as url:
        for repetition in range(repetitions):
            bare = asyncio.run(_bare(url, shape))
            with databases.temporary(server, "benchmark") as database, warehouses.connect(database) as warehouse:
                migrations.migrate(warehouse, [entity.name for entity in ENTITIES])
                canned_logins.enrol(warehouse, cipher, shape.logins)
                ours = _Steps(warehouse, root, cipher, limiter).seconds(url, shape, "benchmark")
            shutil.rmtree(root.path)
            pairs.append((bare, ours))
            console.print(f"{shape}: {repetition + 1} of {repetitions}: bare {bare:.2f} s, steps {ours:.2f} s")
    return pairs


async def _bare(url: str, shape: Shape) -> float:
    """Ask for all pages, as many at once as the steps do, and drop them."""
    at_once = asyncio.Semaphore(PLAID.concurrency)

    async def drain(session: aiohttp.ClientSession, login: int) -> None:
        async with at_once:
            for page in range(shape.pages):
                asked = {"access_token": f"{login:06d}", "cursor": str(page) if page else "", "count": 500}
                async with session.post(f"{url}/transactions/sync", data=msgspec.json.encode(asked)) as answer:
                    async for _ in answer.content.iter_any():
                        pass

    began = time.perf_counter()
    connector = aiohttp.TCPConnector(limit=PLAID.concurrency)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for login in range(shape.logins):
            group.create_task(drain(session, login))
    return time.perf_counter() - began


def _result(shape: Shape, pairs: Sequence[tuple[float, float]]) -> Result:
    pages = shape.logins * shape.pages
    share = Spread.of([bare / ours for bare, ours in pairs])
    detail = {
        "seconds_bare_and_steps": [[round(each, 2) for each in pair] for pair in pairs],
        "pages_per_second_bare": round(pages / Spread.of([bare for bare, _ in pairs]).median),
        "pages_per_second_steps": round(pages / Spread.of([ours for _, ours in pairs]).median),
    }
    how = f"each {shape.latency * 1000:.0f} ms on its way" if shape.latency else "answered at once"
    return Result(
        f"download and store_raw of {pages} pages, {how}",
        f">= {SHARE} x the pages/s of a bare loop",
        f"{share} x",
        share.median >= SHARE,
        detail,
        tried.ANSWERED_AT_ONCE,
    )


if __name__ == "__main__":
    typer.run(main)
