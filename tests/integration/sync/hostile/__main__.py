"""`python -m tests.integration.sync.hostile`: play histories of a hostile bank, and print what each ended in.

Seeds are 0, 1, 2, … Exit code 1 if the warehouse of any history differs from what is true at the bank, or if in all of
them a fault never struck or an act was never played.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from psycopg.sql import SQL, Identifier

from dev.stack.down import down
from dev.stack.up import StackScope
from etl.catalog.entities import ENTITIES
from etl.clients import rate_limits
from etl.clients.rate_limits import Limiter
from etl.db import connection as warehouses
from etl.db import migrations
from etl.settings import Endpoint
from tests.integration.conftest import start_stack
from tests.integration.sync.hostile.history import Outcome, missing_coverage, play
from tests.integration.sync.hostile.warehouses import open_pipeline
from tests.integration.sync.own_bank import OwnBank

TEMPLATE = "hostile_template"
SHOWN_DIFFERENCES = 8
"""Differences of a history that are printed."""

MAX_LINE = 400
"""Characters of a difference that are printed."""


def main(
    histories: Annotated[int, typer.Option(help="How many histories to play.")] = 300,
    seed: Annotated[int | None, typer.Option(help="Play the history of this seed only.")] = None,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
) -> None:
    """Play histories, and print a table."""
    seeds = range(first, first + histories) if seed is None else [seed]
    for name in ("etl", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with _servers() as (server, limiter), OwnBank() as bank:
        typer.echo(f"{'seed':>6} {'days':>6} {'runs':>6} {'faults':>7} {'rows':>7} {'seconds':>8} {'differences':>12}")
        outcomes = [_play(each, server, limiter, bank) for each in seeds]
    different = [outcome.seed for outcome in outcomes if outcome.differences]
    missing = missing_coverage(outcomes) if seed is None else []
    _print_totals(outcomes)
    typer.echo(f"Never happened: {', '.join(missing)}" if missing else "Every fault struck, and every act was played.")
    typer.echo(f"Different: {different}" if different else "No difference.")
    sys.exit(1 if different or missing else 0)


@contextmanager
def _servers() -> Iterator[tuple[Endpoint, Limiter]]:
    """Start Postgres and Valkey, with a template of an empty warehouse."""
    with tempfile.TemporaryDirectory(prefix="sluice-hostile-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        try:
            environment = start_stack(home, StackScope.SERVERS).environment
            server = Endpoint.from_environment("warehouse", environment)
            with warehouses.connect(server) as db:
                db.execute(SQL("create database {}").format(Identifier(TEMPLATE)))
            with warehouses.connect(replace(server, schema=TEMPLATE)) as db:
                migrations.migrate(db, ENTITIES)
            yield server, rate_limits.connect(Endpoint.from_environment("limits", environment))
        finally:
            down(home)


def _play(seed: int, server: Endpoint, limiter: Limiter, bank: OwnBank) -> Outcome:
    """Play the history of a seed in a warehouse of its own, and print a line."""
    begun = monotonic()
    with open_pipeline(seed, bank, server=server, template=TEMPLATE, limiter=limiter) as pipeline:
        outcome = play(seed, pipeline, bank)
    typer.echo(
        f"{seed:>6} {outcome.days:>6} {outcome.runs:>6} {len(outcome.struck):>7} {outcome.rows:>7} "
        f"{monotonic() - begun:>8.1f} {len(outcome.differences):>12}"
    )
    for difference in outcome.differences[:SHOWN_DIFFERENCES]:
        typer.echo(f"       {difference}"[:MAX_LINE])
    return outcome


def _print_totals(outcomes: Sequence[Outcome]) -> None:
    struck = sum((outcome.struck for outcome in outcomes), Counter())
    acts = sum((outcome.acts for outcome in outcomes), Counter())
    typer.echo(f"{len(outcomes)} histories, {sum(outcome.rows for outcome in outcomes):,} rows")
    typer.echo("Faults: " + ", ".join(f"{fault.value} {count:,}" for fault, count in struck.most_common()))
    typer.echo("Acts: " + ", ".join(f"{name} {count:,}" for name, count in acts.most_common()))


if __name__ == "__main__":
    typer.run(main)
