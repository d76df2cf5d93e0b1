"""`python -m tests.integration.notify.badnight`: play each fault of a bad night, print the table and save it.

Exit code 1 if a promise was broken in any of them.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Annotated

import redis
import typer
from psycopg.sql import SQL, Identifier

from dev.stack.down import down
from dev.stack.up import StackScope
from etl.catalog.entities import ENTITIES
from etl.clients import rate_limits
from etl.db import connection as warehouses
from etl.db import migrations
from etl.settings import Endpoint
from tests.integration.conftest import start_stack
from tests.integration.notify.badnight import table
from tests.integration.notify.badnight.faults import FAULTS, Fault
from tests.integration.notify.badnight.night import Night, play
from tests.integration.warehouse_copy import copy_warehouse

TEMPLATE = "badnight_template"
MAX_RATIO = 1.5
"""How much longer messages to healthy destinations may take than alone."""

Play = Callable[[Fault], Night]


def main(
    recipients: Annotated[int, typer.Option(help="Recipients of each run.")] = 2_000,
    seed: Annotated[int, typer.Option(help="Chooses whom the faults strike.")] = 1,
    only: Annotated[str, typer.Option(help="Play the faults whose name holds this; the table is not saved.")] = "",
) -> None:
    """Play each fault, and print what the runs ended in."""
    for name in ("etl", "asyncio", "aiohttp"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    faults = [fault for fault in FAULTS if only.lower() in fault.name.lower()]
    with _servers(recipients, seed) as play_one:
        nights = [_play_and_print(fault, play_one) for fault in faults]
    rendered = table.render([night for night, _ in nights], [ratio for _, ratio in nights])
    typer.echo(f"\n{recipients:,} recipients, seed {seed}\n\n{rendered}")
    if not only:
        table.save(rendered)
    slow = [night.evidence.fault.name for night, ratio in nights if ratio is not None and ratio > MAX_RATIO]
    broken = [night.evidence.fault.name for night, _ in nights if night.violations]
    typer.echo(f"Healthy destinations were slower than {MAX_RATIO} × alone: {slow or 'never'}")
    typer.echo(f"Promises were broken: {broken or 'never'}")
    sys.exit(1 if broken else 0)


@contextmanager
def _servers(recipients: int, seed: int) -> Iterator[Play]:
    """Start Postgres and Valkey; return what plays a fault in a warehouse of its own."""
    ordinals = count()
    with tempfile.TemporaryDirectory(prefix="sluice-badnight-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            environment = start_stack(home, StackScope.SERVERS).environment
            server = Endpoint.from_environment("warehouse", environment)
            limits = Endpoint.from_environment("limits", environment)
            with warehouses.connect(server) as db:
                db.execute(SQL("create database {}").format(Identifier(TEMPLATE)))
            with warehouses.connect(replace(server, schema=TEMPLATE)) as db:
                migrations.migrate(db, ENTITIES)

            def play_one(fault: Fault) -> Night:
                with redis.Redis(limits.host, limits.port, limits.extra["db"], limits.password) as valkey:
                    valkey.flushdb()
                with (
                    copy_warehouse(server, TEMPLATE, f"badnight_{next(ordinals)}") as database,
                    ExitStack() as opened,
                ):
                    return play(
                        fault,
                        recipients=recipients,
                        seed=seed,
                        connect=lambda: opened.enter_context(warehouses.connect(database)),
                        limiter=rate_limits.connect(limits),
                        folder=Path(folder),
                    )

            yield play_one
        finally:
            down(home)


def _play_and_print(fault: Fault, play_one: Play) -> tuple[Night, float | None]:
    """Play a fault; if some destinations are healthy, also without the others just before."""
    # One after the other, so that the load of the machine counts for both.
    alone = play_one(fault.without_ill_destination()) if fault.is_one_ill else None
    night = play_one(fault)
    ratio = night.healthy_seconds / alone.healthy_seconds if alone else None
    typer.echo(f"{'BROKEN' if night.violations else 'ok':<7} {night.seconds:>6.1f} s  {fault.name}")
    for violation in night.violations[:8]:
        typer.echo(f"        {violation}")
    return night, ratio


if __name__ == "__main__":
    typer.run(main)
