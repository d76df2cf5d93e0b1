"""`python -m etl notify status`: how far runs of notices are, how fast they go, and what failed."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.catalog.notices import NOTICES

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from etl.db.connection import Connection
    from etl.notify.progress import RunProgress
    from etl.notify.store.progress import RunStatus

REFRESH_INTERVAL = timedelta(seconds=2)

_WIDTH_WITHOUT_TERMINAL = 160
_COMMON_COUNTS = ("sent", "failed", "suppressed", "expired", "unknown", "unreachable", "repeated")
_RARE_COUNTS = ("dropped", "reopened")
_MEANINGS = {
    "suppressed": "held back by consent or suppression",
    "expired": "their time was over",
    "unknown": "nobody knows whether they arrived",
    "dropped": "of the unknown, given up by a person",
    "unreachable": "no address",
    "repeated": "told by another run or chunk",
    "reopened": "to be tried again by the next walk",
}
_Run = Annotated[
    int | None, typer.Argument(metavar="[RUN]", help="Which run; a list of the latest, if not given.", max=2**31 - 1)
]


def status(
    run_id: _Run = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Look again until the run has ended.")] = False,
    limit: Annotated[int, typer.Option(help="Most runs to list.", min=1, max=1_000)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; with --follow, a line for each look.")] = False,
) -> None:
    """Show the latest runs; or of one how far it is, its rate, when it will be done, and why deliveries failed."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import progress

    if run_id is None and follow:
        raise typer.BadParameter("--follow needs the run that it shall follow; `notify status` lists them")
    with connect_warehouse() as db:
        if run_id is None:
            _print_runs(progress.list_latest(db, limit=limit), as_json=as_json)
        elif follow:
            _follow(db, run_id, as_json=as_json)
        else:
            _print_progress(_read_progress(db, run_id), as_json=as_json)


def _print_runs(runs: list[RunStatus], *, as_json: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps([asdict(run) for run in runs], default=datetime.isoformat))
        return
    table = Table("run", box=SIMPLE_HEAD)
    for heading in ("notice", "period", "state", "planned (UTC)"):
        table.add_column(heading, no_wrap=True)
    for heading in ("recipients", "sent", "failed", "unknown"):
        table.add_column(heading, justify="right")
    for run in runs:
        counts = [f"{count:,}" for count in (run.recipients, run.sent, run.failed, run.unknown)]
        planned = f"{run.planned_at.astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(str(run.run_id), run.notice, run.period, run.state, planned, *counts)
    # A file has no width.
    console = Console(
        highlight=False, markup=False, emoji=False, width=None if Console().is_terminal else _WIDTH_WITHOUT_TERMINAL
    )
    console.print(table if runs else "No run of a notice was planned yet.")


def _read_progress(db: Connection, run_id: int) -> RunProgress:
    from etl.notify.progress import read_progress
    from etl.notify.store import progress as notice_progress

    name = notice_progress.find_status(db, run_id).notice
    channels = next((len(notice.channels) for notice in NOTICES if notice.name == name), 1)
    return read_progress(run_id, channel_count=channels, as_of=datetime.now(UTC), db=db)


def _print_progress(run_progress: RunProgress, *, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        typer.echo(json.dumps(_to_json(run_progress), default=datetime.isoformat))
    else:
        Console(highlight=False, emoji=False).print(_render(run_progress))


def _follow(db: Connection, run_id: int, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    found = _read_progress(db, run_id)
    console = Console(highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            if as_json or not console.is_terminal:
                _print_progress(found, as_json=as_json)
            else:
                live.update(_render(found), refresh=True)
            if found.is_over:
                return
            time.sleep(REFRESH_INTERVAL.total_seconds())
            found = _read_progress(db, run_id)


def _to_json(run_progress: RunProgress) -> dict[str, Any]:
    return {
        **asdict(run_progress.run),
        **run_progress.totals,
        "deliveries": run_progress.expected_deliveries,
        "ended": run_progress.ended_deliveries,
        "rate": run_progress.rate,
        "rate_seconds": run_progress.recent.seconds,
        "average": run_progress.average_rate,
        "left_seconds": run_progress.time_left.total_seconds() if run_progress.time_left is not None else None,
        "failures": run_progress.failures,
    }


def _render(run_progress: RunProgress) -> Group:
    from rich.console import Group
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    run, totals = run_progress.run, run_progress.totals
    share = (
        min(1.0, run_progress.ended_deliveries / run_progress.expected_deliveries)
        if run_progress.expected_deliveries
        else 1.0
    )
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1, completed=share, width=16),
        f"{share:.1%}",
        f"{run_progress.ended_deliveries:,} of {run_progress.expected_deliveries:,} deliveries,",
        f"{totals['chunks_finished']} of {totals['chunks']} chunks",
    )
    counts = Table.grid(padding=(0, 2))
    counts.add_column(justify="right")
    for name in (*_COMMON_COUNTS, *(name for name in _RARE_COUNTS if totals[name])):
        counts.add_row(f"{totals[name]:,}", name, _MEANINGS.get(name, ""))
    heading = f"{run.notice} {run.period}, run {run.run_id}: {run.state}, at most {run.pace:g} messages a second"
    lines: list[RenderableType] = [escape(heading), bar, escape(_describe_rate(run_progress)), counts]
    if run_progress.failures:
        classes = [f"    {count:,}  {name}" for name, count in run_progress.failures.items()]
        lines.append(escape("\n".join(["failed, by class of error:", *classes])))
    return Group(*lines)


def _describe_rate(run_progress: RunProgress) -> str:
    told = []
    if run_progress.rate is not None:
        told.append(f"{run_progress.rate:,.1f} messages a second over the last {run_progress.recent.seconds:.0f} s")
    if run_progress.average_rate is not None:
        told.append(f"{run_progress.average_rate:,.1f} a second since it was planned")
    if run_progress.time_left is not None:
        left = timedelta(seconds=round(run_progress.time_left.total_seconds()))
        told.append(
            f"{left} left{'' if run_progress.rate else ' at its pace'}, "
            f"until {run_progress.as_of + left:%Y-%m-%d %H:%M:%S} UTC"
        )
    expires_at = run_progress.run.expires_at
    if expires_at is not None and not run_progress.is_over:
        told.append(f"expires {expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return "\n".join(told) or "nothing was sent yet"
