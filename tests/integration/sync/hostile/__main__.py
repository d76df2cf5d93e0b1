"""`python -m tests.integration.sync.hostile`: play histories of a hostile bank, and print what each ended in.

Seeds are 0, 1, 2, … Exit code 1 if the warehouse of any history differs from what is true at the bank.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import redis
import typer
from cryptography.fernet import Fernet
from psycopg.sql import SQL, Identifier
from upath import UPath

from dev.bank.faults import Fault
from dev.stack.down import down
from dev.stack.up import StackScope
from etl.catalog.entities import ENTITIES
from etl.clients import rate_limits
from etl.db import connection as warehouses
from etl.db import migrations
from etl.settings import Endpoint
from etl.sync.logins.store.token_cipher import TokenCipher
from tests.integration.conftest import start_stack
from tests.integration.sync.hostile.coverage import CHECKS_UNDER_TEST, FAULTS_UNDER_TEST
from tests.integration.sync.hostile.history import Outcome, Scope, play
from tests.integration.sync.own_bank import OwnBank
from tests.integration.sync.pipeline import Pipeline

TEMPLATE = "hostile_template"
SHOWN_DIFFERENCES = 8
"""Differences of a history that are printed."""


def main(
    histories: Annotated[int, typer.Option(help="How many histories to play.")] = 300,
    seed: Annotated[int | None, typer.Option(help="Play the history of this seed only.")] = None,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    faults: Annotated[list[str], typer.Option("--fault", help="A fault or check to add; may be repeated.")] = [],  # noqa: B006
) -> None:
    """Play histories, and print a table."""
    scope = Scope(
        FAULTS_UNDER_TEST | {Fault(name) for name in faults if name in _FAULT_NAMES},
        CHECKS_UNDER_TEST | {name for name in faults if name not in _FAULT_NAMES},
    )
    seeds = range(first, first + histories) if seed is None else [seed]
    logging.getLogger("etl").addHandler(logging.NullHandler())
    with _servers() as (server, environment), OwnBank() as bank:
        typer.echo(f"{'seed':>6} {'days':>6} {'runs':>6} {'faults':>7} {'rows':>7} {'differences':>12}")
        outcomes = [_play(each, server, environment, bank, scope) for each in seeds]
    different = [outcome.seed for outcome in outcomes if outcome.differences]
    struck = frozenset().union(*(outcome.faults for outcome in outcomes))
    typer.echo(
        f"{len(outcomes)} histories, {len(struck)} kinds of faults, {sum(each.rows for each in outcomes):,} rows"
    )
    typer.echo(f"different: {different}" if different else "No difference.")
    sys.exit(1 if different else 0)


_FAULT_NAMES = {fault.value for fault in Fault}


@contextmanager
def _servers() -> Iterator[tuple[Endpoint, dict[str, str]]]:
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
            yield server, dict(environment)
        finally:
            down(home)


def _play(seed: int, server: Endpoint, environment: dict[str, str], bank: OwnBank, scope: Scope) -> Outcome:
    """Play the history of a seed in a database of its own, and print a line."""
    name = f"hostile_{seed}"
    limits = Endpoint.from_environment("limits", environment)
    with redis.Redis(limits.host, limits.port, int(limits.schema), limits.password) as valkey:
        valkey.flushdb()
    with warehouses.connect(server) as db:
        db.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(TEMPLATE)))
    with (
        tempfile.TemporaryDirectory(prefix="sluice-raw-") as root,
        warehouses.connect(replace(server, schema=name)) as db,
    ):
        cipher = TokenCipher([Fernet.generate_key().decode()])
        pipeline = Pipeline(db, UPath(f"file://{root}"), cipher, bank.endpoint, rate_limits.connect(limits))
        outcome = play(seed, pipeline, bank, scope=scope)
    with warehouses.connect(server) as db:
        db.execute(SQL("drop database {} with (force)").format(Identifier(name)))
    typer.echo(
        f"{seed:>6} {outcome.days:>6} {outcome.runs:>6} {len(outcome.faults):>7} {outcome.rows:>7} "
        f"{len(outcome.differences):>12}"
    )
    for difference in outcome.differences[:SHOWN_DIFFERENCES]:
        typer.echo(f"       {difference}")
    return outcome


if __name__ == "__main__":
    typer.run(main)
