"""`python -m etl notify plan`: what a run of a notice would do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, find_notice, parse_parameters, parse_period

if TYPE_CHECKING:
    from etl.notify.estimate import RunEstimate

_DISPOSITION_LABELS = {
    "to_send": "to send",
    "unreachable": "without an address",
    "no_consent": "held back: no consent",
    "suppressed_address": "held back: address suppressed",
    "user_deleted": "held back: user deleted",
    "repeated": "in the ledger already",
}


def plan(notice: NoticeName, period: Period = None, parameters: Parameters = None) -> None:
    """Show what a run would do now: recipients, chunks, messages, and the time that its pace takes; write nothing."""
    from etl.db.connection import connect_warehouse
    from etl.notify.estimate import estimate_run

    declared, now = find_notice(notice), datetime.now(UTC)
    wanted = parse_period(declared, period, as_of=now)
    with connect_warehouse() as db:
        db.read_only = True
        with db.transaction():
            expected = estimate_run(declared, wanted, as_of=now, db=db, parameters=parse_parameters(parameters))
    _print_estimate(expected)


def _print_estimate(estimate: RunEstimate) -> None:
    run = estimate.run
    if run.run_id:
        typer.echo(f"{run.notice} {run.period} was planned already: run {run.run_id} is {run.state}")
    typer.echo(f"{run.notice} {run.period}: {_describe_recipients(estimate)}")
    for channel, verdicts in estimate.dispositions.items():
        found = [f"{verdicts[name]:,} {words}" for name, words in _DISPOSITION_LABELS.items() if verdicts.get(name)]
        typer.echo(f"    {channel}: {', '.join(found) or 'nothing'}")
    least = timedelta(seconds=round(estimate.min_duration.total_seconds()))
    typer.echo(f"{estimate.messages:,} messages; at {run.pace:g} a second they take at least {least}")


def _describe_recipients(estimate: RunEstimate) -> str:
    if not estimate.recipients:
        return "nobody is to be told"
    sizes = f"{estimate.largest_chunk:,}"
    if estimate.smallest_chunk != estimate.largest_chunk:
        sizes = f"{estimate.smallest_chunk:,} or {sizes}"
    chunks = "one chunk" if estimate.chunks == 1 else f"{estimate.chunks} chunks of {sizes}"
    return f"{estimate.recipients:,} recipients in {chunks}"
