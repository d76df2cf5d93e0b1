"""`sluice notify plan`: estimate a run of a notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, find_notice, parse_parameters, parse_period
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    from etl.notify.estimate import RunEstimate

_DISPOSITION_LABELS = {
    "to_send": "to send",
    "quiet_hours": "to send later, in their recipients' send window",
    "expires_in_quiet_hours": "would expire before their recipients' send window opens",
    "unreachable": "without an address",
    "no_consent": "held back: no consent",
    "capped": "held back: their recipients got enough of the category",
    "suppressed_address": "held back: address suppressed",
    "user_deleted": "held back: user deleted",
    "repeated": "in the ledger already",
}
_JSON = (
    "`notice`, `period`, `run_id` and `state` (null if the run is not planned yet), `pace` (messages a second), "
    "`recipients`, `chunks`, `smallest_chunk`, `largest_chunk`, `dispositions` (by channel, the number of messages "
    "`to_send`, `quiet_hours` (sent later), `expires_in_quiet_hours`, `unreachable`, `no_consent`, `capped`, "
    "`suppressed_address`, `user_deleted` and `repeated`, without zeros), `messages`, `min_duration_seconds`, "
    "`waits_until` (when the last send window opens, or null), `unknown_zones` (messages to users whose time zone is "
    "unknown) and `needs_approval` (true or false)"
)


@examples(
    "sluice notify plan monthly_report --period 2026-10",
    "sluice notify plan fraud_alert --parameters '{\"days\": 2}'",
    json=_JSON,
)
def plan(
    notice: NoticeName,
    *,
    period: Period = None,
    parameters: Parameters = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do now: recipients, chunks, messages, and how long they take; write nothing."""
    from etl.db.connection import connect_warehouse
    from etl.notify.estimate import estimate_run

    declared, now = find_notice(notice), datetime.now(UTC)
    chosen_period = parse_period(declared, period, as_of=now)
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            estimate = estimate_run(declared, chosen_period, as_of=now, db=db, parameters=parse_parameters(parameters))
    if as_json:
        print_json(_to_document(estimate))
    else:
        _print_estimate(estimate)


def _to_document(estimate: RunEstimate) -> dict[str, object]:
    run = estimate.run
    return {
        "notice": run.notice,
        "period": run.period,
        "run_id": run.run_id or None,
        "state": run.state if run.run_id else None,
        "pace": run.pace,
        "recipients": estimate.recipients,
        "chunks": estimate.chunks,
        "smallest_chunk": estimate.smallest_chunk,
        "largest_chunk": estimate.largest_chunk,
        "dispositions": estimate.dispositions,
        "messages": estimate.messages,
        "min_duration_seconds": estimate.min_duration,
        "waits_until": estimate.waits_until,
        "unknown_zones": estimate.unknown_zones,
        "needs_approval": estimate.needs_approval,
    }


def _print_estimate(estimate: RunEstimate) -> None:
    run = estimate.run
    if run.run_id:
        print_line(f"{run.notice} {run.period} was planned already: run {run.run_id} is {run.state}")
    print_line(f"{run.notice} {run.period}: {_describe_recipients(estimate)}")
    for channel, dispositions in estimate.dispositions.items():
        counts = [
            f"{dispositions[name]:,} {label}" for name, label in _DISPOSITION_LABELS.items() if dispositions.get(name)
        ]
        typer.echo(f"    {channel}: {', '.join(counts) or 'nothing'}")
    duration = timedelta(seconds=round(estimate.min_duration.total_seconds()))
    typer.echo(f"{estimate.messages:,} messages; at {run.pace:g} a second they take at least {duration}")
    if estimate.waits_until is not None:
        typer.echo(f"the last send window opens at {estimate.waits_until:%Y-%m-%d %H:%M} UTC")
    if estimate.unknown_zones:
        typer.echo(f"{estimate.unknown_zones:,} messages go to users of an unknown time zone; the notice's is used")
    if estimate.needs_approval:
        typer.echo("a person must approve the run in Airflow before it is sent")


def _describe_recipients(estimate: RunEstimate) -> str:
    if not estimate.recipients:
        return "no recipients"
    sizes = f"{estimate.largest_chunk:,}"
    if estimate.smallest_chunk != estimate.largest_chunk:
        sizes = f"{estimate.smallest_chunk:,} or {sizes}"
    chunks = "one chunk" if estimate.chunks == 1 else f"{estimate.chunks} chunks of {sizes}"
    return f"{estimate.recipients:,} recipients in {chunks}"
