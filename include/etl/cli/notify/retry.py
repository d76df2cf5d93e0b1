"""`sluice notify retry` and `resolve`: reopen failed deliveries, hurry deferred ones, and decide on unknown ones."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import RunId, send_command
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    from etl.notify.failed_deliveries import DeliveryChanges

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be changed, and change nothing.")]
_JSON = (
    "`run_id`, `notice`, `period`, `dry_run`, `deliveries` (the number of changed deliveries by error class), `total`, "
    "`busy_chunks` (chunks that are being sent, and were skipped) and `next_command`, which sends the reopened "
    "deliveries (null if there is nothing to send)"
)
_NOT_RETRYABLE = {
    "expired": "they expired before they were sent, and an expired message is never sent",
    "suppressed": "they were held back since their recipients refused them or their address bounced; a retry does not "
    "override that",
    "sent": "nobody gets a message twice",
    "unknown": "they may have arrived; decide with `notify resolve`",
    "claimed": "they are being sent, or their sender was killed; the next attempt of their chunk finds out",
    "deferred": "they wait for another try already; `notify retry --deferred` lets them be due now",
}
_ONLY_FAILED = "only `failed` deliveries can be retried"


class Decision(Enum):
    """What to do with a delivery of which nobody knows whether it arrived."""

    RESEND = "resend"
    DROP = "drop"


@examples(
    "sluice notify retry 17 --dry-run",
    "sluice notify retry 17 --error-class 421 --error-class template_broken",
    "sluice notify retry 17 --deferred",
    json=_JSON,
)
def retry(
    run_id: RunId,
    *,
    state: Annotated[str, typer.Option(help="Must be `failed`; no other state can be retried.")] = "failed",
    error_class: Annotated[
        list[str] | None, typer.Option(help="Only deliveries that failed with this error class; may be repeated.")
    ] = None,
    deferred: Annotated[bool, typer.Option("--deferred", help="Let deferred deliveries be due now, instead.")] = False,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Reopen the failed deliveries of a run, and print the command that sends them again; or hurry the deferred."""
    from etl.db.connection import connect_warehouse
    from etl.notify.failed_deliveries import hurry_deferred, retry_failed
    from etl.notify.store import deferrals, failed_deliveries

    if state != "failed":
        raise typer.BadParameter(f"{_ONLY_FAILED}: {_NOT_RETRYABLE.get(state, f'{state!r} is no state of a delivery')}")
    state = "deferred" if deferred else state
    change, count = (hurry_deferred, deferrals.count) if deferred else (retry_failed, failed_deliveries.count_failures)
    with connect_warehouse() as db:
        changes = change(run_id, error_classes=error_class or None, as_of=datetime.now(UTC), db=db, dry_run=dry_run)
        by_class = count(db, run_id)
    if not changes.total and not changes.busy_chunks:
        criterion = f" with {', '.join(error_class)}" if error_class else ""
        counts = ", ".join(f"{name} ({deliveries:,})" for name, deliveries in by_class.items())
        raise typer.BadParameter(
            f"run {run_id}: no delivery {'is deferred' if deferred else 'failed'}{criterion}, so nothing was changed"
            f"{f'; {state} deliveries by error class: {counts}' if counts else ''}"
        )
    verbs = ("would hurry", "hurried") if deferred else ("would reopen", "reopened")
    _print_changes(
        changes,
        verb=verbs[0] if dry_run else verbs[1],
        state=state,
        next_command=None if dry_run or deferred else send_command(changes.run),
        dry_run=dry_run,
        as_json=as_json,
    )
    if deferred and not dry_run and not as_json:
        typer.echo("Their tasks send them within five minutes.")


@examples(
    "sluice notify resolve 17 --unknown resend --dry-run",
    "sluice notify resolve 17 --unknown drop",
    json=_JSON,
)
def resolve(
    run_id: RunId,
    *,
    unknown: Annotated[
        Decision,
        typer.Option(help="resend: users may get the message twice. drop: users may never get it."),
    ],
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Decide on the deliveries of a run of which nobody knows whether they arrived: send them again, or drop them."""
    from etl.db.connection import connect_warehouse
    from etl.notify.failed_deliveries import drop_unknown, resend_unknown

    is_resent = unknown is Decision.RESEND
    with connect_warehouse() as db:
        if is_resent:
            changes = resend_unknown(run_id, as_of=datetime.now(UTC), db=db, dry_run=dry_run)
        else:
            changes = drop_unknown(run_id, db=db, dry_run=dry_run)
    if not changes.total and not changes.busy_chunks and not as_json:
        typer.echo(f"run {run_id}: no unknown delivery needs a decision")
        return
    verbs = ("would reopen", "reopened") if is_resent else ("would drop", "dropped")
    _print_changes(
        changes,
        verb=verbs[0] if dry_run else verbs[1],
        state="unknown",
        next_command=send_command(changes.run) if is_resent and not dry_run else None,
        dry_run=dry_run,
        as_json=as_json,
    )


def _print_changes(
    changes: DeliveryChanges, *, verb: str, state: str, next_command: str | None, dry_run: bool, as_json: bool
) -> None:
    """Print what was changed; exit with code 1 if chunks were skipped.

    Parameters
    ----------
    next_command
        Command that sends the changed deliveries; None if they are not sent.
    """
    run = changes.run
    if not changes.total:
        next_command = None
    if as_json:
        print_json(
            {
                "run_id": run.run_id,
                "notice": run.notice,
                "period": run.period,
                "dry_run": dry_run,
                "deliveries": changes.deliveries,
                "total": changes.total,
                "busy_chunks": changes.busy_chunks,
                "next_command": next_command,
            }
        )
    else:
        noun = "delivery" if changes.total == 1 else "deliveries"
        print_line(f"{run.notice} {run.period}, run {run.run_id}: {verb} {changes.total:,} {state} {noun}")
        for error_class, count in changes.deliveries.items():
            print_line(f"    {error_class}: {count:,}")
        if next_command is not None:
            if run.state == "paused":
                typer.echo(f"The run is paused; continue it with `sluice notify resume {run.run_id}`.")
            typer.echo(f"Send them with\n    {next_command}")
    if changes.busy_chunks:
        chunks = ", ".join(map(str, changes.busy_chunks))
        typer.echo(f"skipped the chunks that are being sent: {chunks}; try again when they have ended", err=True)
        raise typer.Exit(1)
