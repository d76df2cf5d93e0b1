"""`sluice rejects`: list, show and retry rejected records, and list bad fields of records that were loaded."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from etl.catalog.entities import ENTITIES
from etl.cli.arguments import ENTITY_NAMES, complete_entity, find_entity, require_id
from etl.cli.help import AsJson, add_command, examples, format_epilog
from etl.cli.replay import REPLAY_JSON, Selection, print_counts, replay_batches, to_document
from etl.cli.terminal import escape_unprintable, print_json, print_line, print_table
from etl.settings import Settings

_Entity = Annotated[
    str | None,
    typer.Option(metavar="ENTITY", help=f"Only of one of {ENTITY_NAMES}.", autocompletion=complete_entity),
]
_Batch = Annotated[int | None, typer.Option(metavar="ID", help="Only of this raw batch.", callback=require_id)]
_REJECT = (
    "`reject_id`, `raw_id` (its raw batch), `entity`, `version`, `provider_account_id`, `record_id` (its key, or a "
    "digest), `line` (its page in the batch, from 0), `path`, `rule`, `reason`, `rejected_at` (last), "
    "`first_rejected_at`, `failures` (how often) and `closed_at` (null while it is open)"
)
_LIST_JSON = (
    f"`tallies`, a list of `entity`, `rule` and `rejects` (how many), and `latest`, a list of objects with {_REJECT}"
)
_WARNINGS_JSON = (
    "`warnings`, a list of `entity`, `path`, `rule`, `records` and `logins` (how many), `raw_id` (the latest raw "
    "batch) and `found` (an example from it)"
)
_SHOW_JSON = f"{_REJECT}; and `record`, the record that the provider sent, or its text if it is not valid JSON"
_RETRY_JSON = f"`entities`, a list of objects with `rejects_before`, `rejects_after`, {REPLAY_JSON}"


@examples(
    "sluice rejects list",
    "sluice rejects list --entity transactions --rule iso4217 --limit 100",
    json=_LIST_JSON,
)
def list_rejects(
    *,
    entity: _Entity = None,
    batch: _Batch = None,
    rule: Annotated[str | None, typer.Option(help="Only those that broke this rule.")] = None,
    closed: Annotated[
        bool, typer.Option("--closed", help="Those whose record was loaded or is no longer rejected, instead.")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Maximum number of rejects to list.", callback=require_id)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show how many records each rule rejected, and the latest of them.

    A record counts once, however often it was rejected, and until it is loaded.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.store import rejects

    reject_filter = rejects.RejectFilter(_names(entity), rule, batch, closed)
    with connect_warehouse() as db:
        tallies = rejects.count_by_rule(db, reject_filter)
        latest = rejects.latest(db, reject_filter, limit=limit)
    if as_json:
        print_json({"tallies": tallies, "latest": latest})
        return
    if not tallies:
        typer.echo("No reject was closed." if closed else "No record is rejected.")
        return
    print_table(
        ("entity", "rule", "rejects"),
        [(tally.entity, tally.rule, tally.rejects) for tally in tallies],
        numbers=("rejects",),
    )
    for reject in latest:
        location = f"raw batch {reject.raw_id}, page {reject.line}, {reject.path}"
        times = "" if reject.failures == 1 else f" ({reject.failures:,} times)"
        print_line(f"{reject.reject_id}: {reject.entity}, {location}: {reject.rule}: {reject.reason}{times}")
    count = sum(tally.rejects for tally in tallies)
    if count > len(latest):
        typer.echo(f"The latest {len(latest):,} of {count:,}; see more with --limit.")


@examples("sluice rejects show 17", "sluice rejects show 17 --json | jq .record", json=_SHOW_JSON)
def show_reject(
    reject_id: Annotated[
        int, typer.Argument(metavar="REJECT", help="The reject's number; `sluice rejects list` shows it.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show one reject, and its record as the provider sent it."""
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync.rejected_record import read_rejected_record
    from etl.sync.store import rejects

    with connect_warehouse() as db:
        reject = rejects.find(db, reject_id)
        record = read_rejected_record(reject, db=db, root=UPath(Settings.from_environment().raw_root))
    if as_json:
        print_json({**asdict(reject), "record": _decode_record(record)})
        return
    for name, value in asdict(reject).items():
        print_line(f"{name}: {value}")
    typer.echo(_format_record(record))


@examples("sluice rejects retry", "sluice rejects retry --entity transactions --batch 17", json=_RETRY_JSON)
def retry_rejects(*, entity: _Entity = None, batch: _Batch = None, as_json: AsJson = False) -> None:
    """Replay the raw batches that hold rejects, after the cause of the rejects is fixed."""
    from upath import UPath

    from etl.db.connection import connect_warehouse
    from etl.sync.store import rejects

    documents = []
    has_failed = False
    root = UPath(Settings.from_environment().raw_root)
    with connect_warehouse() as db:
        for each in [find_entity(entity)] if entity else ENTITIES:
            raw_ids = rejects.replayable_batches(db, entity=each.name, raw_id=batch)
            reject_filter = rejects.RejectFilter([each.name], raw_id=batch)
            before = sum(tally.rejects for tally in rejects.count_by_rule(db, reject_filter))
            result = replay_batches(Selection(each, raw_ids, includes_all_later=False), db=db, root=root)
            after = sum(tally.rejects for tally in rejects.count_by_rule(db, reject_filter))
            print_counts(each, result, only_errors=as_json)
            if not as_json:
                typer.echo(f"{each.name}: {before:,} rejects before, {after:,} now")
            documents.append({**to_document(each, result), "rejects_before": before, "rejects_after": after})
            has_failed = has_failed or bool(result.errors)
    if as_json:
        print_json({"entities": documents})
    raise typer.Exit(has_failed)


@examples(
    "sluice rejects warnings",
    "sluice rejects warnings --json | jq .warnings",
    json=_WARNINGS_JSON,
)
def list_warnings(
    *,
    entity: _Entity = None,
    batch: _Batch = None,
    limit: Annotated[
        int, typer.Option(metavar="N", help="Maximum number of fields to list.", callback=require_id)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """Show which fields of loaded records were bad, in the last 30 days or in one batch.

    Optional fields are null in the row then, and amounts with binary noise are rounded.
    """
    from etl.db.connection import connect_warehouse
    from etl.sync.store import field_warnings

    with connect_warehouse() as db:
        warnings = field_warnings.summaries(db, entities=_names(entity), raw_id=batch, limit=limit)
    if as_json:
        print_json({"warnings": warnings})
        return
    if not warnings:
        typer.echo("No field was bad.")
        return
    print_table(
        ("entity", "path", "rule", "records", "logins", "example"),
        [(each.entity, each.path, each.rule, each.records, each.logins, each.found) for each in warnings],
        numbers=("records", "logins"),
    )


def _names(entity: str | None) -> list[str]:
    """Return the name of an entity that was chosen, or those of all."""
    return [each.name for each in ([find_entity(entity)] if entity else ENTITIES)]


def _decode_record(record: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return a record decoded from JSON, or its text if it is not valid JSON."""
    import msgspec

    from etl.json_text import DECODE_ERRORS

    try:
        return msgspec.json.decode(record)
    except DECODE_ERRORS:
        return record.decode("utf-8", errors="backslashreplace")


def _format_record(record: bytes) -> str:
    """Return a record as indented JSON, or its text if it is not valid JSON."""
    import msgspec

    try:
        return escape_unprintable(msgspec.json.format(record, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return escape_unprintable(record.decode("utf-8", errors="backslashreplace"))


app = typer.Typer(
    help="List, show and retry rejected records, and list bad fields.",
    no_args_is_help=True,
    epilog=format_epilog("sluice rejects list"),
)
add_command(app, list_rejects, name="list", panel="Rejects")
add_command(app, show_reject, name="show", panel="Rejects")
add_command(app, retry_rejects, name="retry", panel="Rejects")
add_command(app, list_warnings, name="warnings", panel="Rejects")
