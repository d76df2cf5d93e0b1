"""`python -m etl rejects`: records that were left out, why, and another try."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import msgspec
import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, entity_named
from etl.cli.replay import Selected, replay_selected, show
from etl.cli.terminal import printable
from etl.settings import Endpoint, Settings

app = typer.Typer(help="Records that were left out: list, show, retry.", no_args_is_help=True)

_Entity = Annotated[str | None, typer.Option(help=f"Only of one of {ENTITY_NAMES}.")]
_LARGEST = 2**63 - 1
_Batch = Annotated[int | None, typer.Option(help="Only of this raw batch.", min=1, max=_LARGEST)]


@app.command("list")
def list_rejects(
    entity: _Entity = None,
    batch: _Batch = None,
    rule: Annotated[str | None, typer.Option(help="Only those that broke this rule.")] = None,
    limit: Annotated[int, typer.Option(help="Most rejects to list.", min=1, max=_LARGEST)] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how many records each rule left out, and the latest of them."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from etl.db import connection as warehouse
    from etl.sync.store import rejects

    versions = {each.name: each.version for each in ([entity_named(entity)] if entity else ENTITIES)}
    narrowed = rejects.Narrowed(versions, rule, batch)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        tallies = rejects.tally(connection, narrowed)
        latest = rejects.latest(connection, narrowed, limit=limit)
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
        console.print(escape(printable(line)))
    count = sum(tally.rejects for tally in tallies)
    if count > len(latest):
        console.print(f"The latest {len(latest):,} of {count:,}; see more with --limit.")


@app.command("show")
def show_reject(reject_id: Annotated[int, typer.Argument(help="As `list` shows it.")]) -> None:
    """Show one reject, and the record as the provider sent it."""
    from upath import UPath

    from etl.db import connection as warehouse
    from etl.sync.rejected_record import recall
    from etl.sync.store import rejects

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        reject = rejects.find(connection, reject_id)
        record = recall(reject, warehouse=connection, root=UPath(Settings.from_environment().raw_root))
    for name, value in asdict(reject).items():
        typer.echo(printable(f"{name}: {value}"))
    typer.echo(_readable(record))


@app.command("retry")
def retry_rejects(entity: _Entity = None, batch: _Batch = None) -> None:
    """Replay the raw batches that hold rejects, once what rejected them is mended."""
    from upath import UPath

    from etl.db import connection as warehouse
    from etl.sync.store import rejects

    failed = False
    root = UPath(Settings.from_environment().raw_root)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        for each in [entity_named(entity)] if entity else ENTITIES:
            raw_ids = rejects.batches(connection, entity=each.name, version=each.version, raw_id=batch)
            narrowed = rejects.Narrowed({each.name: each.version}, raw_id=batch)
            before = sum(tally.rejects for tally in rejects.tally(connection, narrowed))
            replayed = replay_selected(Selected(each, raw_ids, to_the_end=False), warehouse=connection, root=root)
            after = sum(tally.rejects for tally in rejects.tally(connection, narrowed))
            show(each, replayed)
            typer.echo(f"{each.name}: {before:,} rejects before, {after:,} now")
            failed = failed or bool(replayed.failed)
    raise typer.Exit(failed)


def _readable(record: bytes) -> str:
    """Return JSON in lines, or what is none as far as it can be shown."""
    try:
        return printable(msgspec.json.format(record, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return printable(record.decode("utf-8", errors="backslashreplace"))
