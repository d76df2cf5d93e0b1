"""`python -m etl notify plan`: what a run of a notice would do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import typer

from etl.cli.arguments import NoticeName, Parameters, Period, notice_named, parameters_of, period_of
from etl.settings import Endpoint

if TYPE_CHECKING:
    from etl.notify.estimate import NoticeForecast

_WORDS = {
    "to_send": "to send",
    "unreachable": "without an address",
    "no_consent": "held back: no consent",
    "suppressed_address": "held back: address suppressed",
    "user_deleted": "held back: user deleted",
    "repeated": "in the ledger already",
}


def plan(notice: NoticeName, period: Period = None, parameters: Parameters = None) -> None:
    """Show what a run would do now: recipients, chunks, messages, and the time that its pace takes; write nothing."""
    from etl.db import connection as warehouse
    from etl.notify.estimate import forecast_notice

    declared, now = notice_named(notice), datetime.now(UTC)
    wanted = period_of(declared, period, as_of=now)
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        connection.read_only = True
        with connection.transaction():
            expected = forecast_notice(
                declared, wanted, as_of=now, warehouse=connection, parameters=parameters_of(parameters)
            )
    _show(expected)


def _show(expected: NoticeForecast) -> None:
    run = expected.run
    if run.run_id:
        typer.echo(f"{run.notice} {run.period} was planned already: run {run.run_id} is {run.state}")
    typer.echo(f"{run.notice} {run.period}: {_recipients(expected)}")
    for channel, verdicts in expected.verdicts.items():
        found = [f"{verdicts[name]:,} {words}" for name, words in _WORDS.items() if verdicts.get(name)]
        typer.echo(f"    {channel}: {', '.join(found) or 'nothing'}")
    least = timedelta(seconds=round(expected.least_time.total_seconds()))
    typer.echo(f"{expected.messages:,} messages; at {run.pace:g} a second they take at least {least}")


def _recipients(expected: NoticeForecast) -> str:
    if not expected.recipients:
        return "nobody is to be told"
    sizes = f"{expected.largest:,}"
    if expected.smallest != expected.largest:
        sizes = f"{expected.smallest:,} or {sizes}"
    chunks = "one chunk" if expected.chunks == 1 else f"{expected.chunks} chunks of {sizes}"
    return f"{expected.recipients:,} recipients in {chunks}"
