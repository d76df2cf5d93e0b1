"""`python -m etl rejects`: records that were left out, why, and another try."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, find_entity
from etl.cli.replay import Selection, print_counts, replay_batches
from etl.cli.terminal import escape_unprintable
from etl.settings import Settings

app = typer.Typer(help="Records that were left out: list, show, retry.", no_args_is_help=True)

_Entity = Annotated[str | None, typer.Option(help=f"Only of one of {ENTITY_NAMES}.")]
_MAX_BIGINT = 2**63 - 1
_Batch = Annotated[int | None, typer.Option(help="Only of this raw batch.", min=1, max=_MAX_BIGINT)]


@app.command("list")
def list_rejects(
    entity: _Entity = None,
    batch: _Batch = None,
    rule: Annotated[str | None, typer.Option(help="Only those that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(help="Most rejects to list.", min=1, max=_MAX_BIGINT)] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how many records each rule left out, and the latest of them."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from etl.db.connection import connect_warehouse
    from etl.sync.store import rejects

    versions = {each.name: each.version for each in ([find_entity(entity)] if entity else ENTITIES)}
    narrowed = rejects.RejectFilter(versions, rule, batch)
    with connect_warehouse() as db:
        tallies = rejects.count_by_rule(db, narrowed)
        latest = rejects.latest(db, narrowed, limit=limit)
    if as_json:
        shown = {"tallies": [asdict(tally) for tally in tallies], "latest": [asdict(reject) for reject in latest]}
        typer.echo(json.dumps(shown, default=datetime.isoformat))
        return
    console = Console(highlight=False, soft_wrap=True)
    if not tallies:
        console.print("No record was left out.")
        return
    counted = Table("entity", "rule")
    counted.add_column("rejects", justify="right")
    for tally in tallies:
        counted.add_row(tally.entity, tally.rule, f"{tally.rejects:,}")
    console.print(counted)
    for reject in latest:
        place = f"raw batch {reject.raw_id}, page {reject.line}, {reject.path}"
        line = f"{reject.reject_id}: {reject.entity}, {place}: {reject.rule}: {reject.reason}"
        console.print(escape(escape_unprintable(line)))
    count = sum(tally.rejects for tally in tallies)
    if count > len(latest):
        console.print(f"The latest {len(latest):,} of {count:,}; see more with --limit.")


@app.command("show")
def show_reject(reject_id: Annotated[int, typer.Argument(help="As `list` shows it.")]) -> None:
    """Show one reject, and the record as the provider sent it."""
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync.rejected_record import read_rejected_record
    from etl.sync.store import rejects

    with connect_warehouse() as db:
        reject = rejects.find(db, reject_id)
        record = read_rejected_record(reject, db=db, root=UPath(Settings.from_environment().raw_root))
    for name, value in asdict(reject).items():
        typer.echo(escape_unprintable(f"{name}: {value}"))
    typer.echo(_format_record(record))


@app.command("retry")
def retry_rejects(entity: _Entity = None, batch: _Batch = None) -> None:
    """Replay the raw batches that hold rejects, once what rejected them is mended."""
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync.store import rejects

    failed = False
    root = UPath(Settings.from_environment().raw_root)
    with connect_warehouse() as db:
        for each in [find_entity(entity)] if entity else ENTITIES:
            raw_ids = rejects.replayable_batches(db, entity=each.name, version=each.version, raw_id=batch)
            narrowed = rejects.RejectFilter({each.name: each.version}, raw_id=batch)
            before = sum(tally.rejects for tally in rejects.count_by_rule(db, narrowed))
            replayed = replay_batches(Selection(each, raw_ids, includes_all_later=False), db=db, root=root)
            after = sum(tally.rejects for tally in rejects.count_by_rule(db, narrowed))
            print_counts(each, replayed)
            typer.echo(f"{each.name}: {before:,} rejects before, {after:,} now")
            failed = failed or bool(replayed.errors)
    raise typer.Exit(failed)


def _format_record(record: bytes) -> str:
    """Return JSON in lines, or what is none as far as it can be shown."""
    try:
        return escape_unprintable(msgspec.json.format(record, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return escape_unprintable(record.decode("utf-8", errors="backslashreplace"))
