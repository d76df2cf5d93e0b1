"""`python -m etl notify retry`, `resolve`: another try for what failed, and a decision on what is in doubt."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import RunId, send_command

if TYPE_CHECKING:
    from etl.notify.retry import DeliveryChanges

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and do nothing.")]
_NOT_RETRYABLE = {
    "expired": "their time was over when their turn came, and a message that is of no use is not sent later",
    "suppressed": "they are held back by what their recipients said, or since their address bounced; no retry may "
    "pass over that",
    "sent": "nobody gets a message twice",
    "unknown": "somebody may have got them; decide with `notify resolve`",
    "claimed": "they are being sent, or their sender was killed; the next attempt of their chunk tells which",
    "reopened": "they are tried again already",
}
_ONLY_FAILED = "only what is `failed` can be retried"


class Decision(Enum):
    """What to do with a message of which nobody knows whether it arrived."""

    RESEND = "resend"
    DROP = "drop"


def retry(
    run_id: RunId,
    *,
    state: Annotated[str, typer.Option(help="Must be `failed`; no other state can be tried again.")] = "failed",
    error_class: Annotated[
        list[str] | None, typer.Option(help="Only what failed for this reason; may be given several times.")
    ] = None,
    dry_run: _DryRun = False,
) -> None:
    """Let what failed of a run be tried again, and nothing else; then print the command that sends it."""
    from etl.db.connection import connect_warehouse
    from etl.notify import retry
    from etl.notify.store import retries

    if state != "failed":
        raise typer.BadParameter(f"{_ONLY_FAILED}: {_NOT_RETRYABLE.get(state, f'{state!r} is no state of a delivery')}")
    with connect_warehouse() as db:
        found = retry.retry_failed(
            run_id, error_classes=error_class or None, as_of=datetime.now(UTC), db=db, dry_run=dry_run
        )
        failures = retries.count_failures(db, run_id)
    if not found.total and not found.busy_chunks:
        others = ", ".join(f"{name} ({count:,})" for name, count in failures.items())
        what = f"for {', '.join(error_class)}" if error_class else "of it"
        rest = f"; what failed: {others}" if others else ""
        raise typer.BadParameter(f"run {run_id}: nothing {what} has failed, so nothing was changed{rest}")
    _print_result(found, "that failed, to be tried again", dry_run=dry_run, next_command=send_command(found.run))


def resolve(
    run_id: RunId,
    *,
    unknown: Annotated[Decision, typer.Option(help="resend: somebody may get it twice. drop: somebody may never.")],
    dry_run: _DryRun = False,
) -> None:
    """Decide on messages of which nobody knows whether they arrived: send them again, or give them up."""
    from etl.db.connection import connect_warehouse
    from etl.notify import retry

    with connect_warehouse() as db:
        if unknown is Decision.RESEND:
            found = retry.resend_unknown(run_id, as_of=datetime.now(UTC), db=db, dry_run=dry_run)
        else:
            found = retry.drop_unknown(run_id, db=db, dry_run=dry_run)
    if not found.total and not found.busy_chunks:
        typer.echo(f"run {run_id}: nothing is in doubt that nobody has decided on")
    elif unknown is Decision.RESEND:
        _print_result(found, "in doubt, to be sent again", dry_run=dry_run, next_command=send_command(found.run))
    else:
        _print_result(found, "in doubt, given up: unknown for good", dry_run=dry_run, next_command="")


def _print_result(result: DeliveryChanges, description: str, *, dry_run: bool, next_command: str) -> None:
    run = result.run
    counted = "1 delivery" if result.total == 1 else f"{result.total:,} deliveries"
    heading = f"{run.notice} {run.period}, run {run.run_id}"
    typer.echo(f"{heading}: {'it would be ' if dry_run else ''}{counted} {description}")
    for name, count in result.deliveries.items():
        typer.echo(f"    {name}: {count:,}")
    if not dry_run and next_command and result.total:
        if run.state == "paused":
            typer.echo(f"The run is paused; `python -m etl notify resume {run.run_id}` lets it go on.")
        typer.echo(f"Send them with\n    {next_command}")
    if result.busy_chunks:
        chunks = ", ".join(map(str, result.busy_chunks))
        typer.echo(
            f"chunks that are being sent were left as they are: {chunks}; try again when they have ended", err=True
        )
        raise typer.Exit(1)
