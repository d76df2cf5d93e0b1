"""`sluice notify status`: progress and rate of runs of notices, and why deliveries failed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.catalog.notices import NOTICES
from etl.cli.arguments import require_run_id
from etl.cli.help import AsJson, examples
from etl.cli.terminal import escape_unprintable, open_console, print_json, print_table

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from etl.db.connection import Connection
    from etl.notify.progress import RunProgress
    from etl.notify.store.deferrals import DeferralGroup
    from etl.notify.store.progress import RunStatus

REFRESH_INTERVAL = timedelta(seconds=2)

_COMMON_COUNTS = ("sent", "failed", "suppressed", "expired", "unknown", "unreachable", "repeated")
_RARE_COUNTS = ("dropped", "deferred")
_MAX_GROUPS = 10
_MEANINGS = {
    "suppressed": "held back by consent or suppression",
    "expired": "not sent in time",
    "unknown": "nobody knows whether they arrived",
    "dropped": "unknown, and dropped by `notify resolve`",
    "unreachable": "no address",
    "repeated": "sent by another run or chunk",
    "deferred": "wait for another try",
}
_RUN = (
    "`run_id`, `notice`, `period`, `state` (`running`, `paused`, `held`, `cancelled`, `done` or `failed`), `pace` "
    "(messages a second), `recipients`, `planned_at`, `ended_at`, `expires_at`, `sent`, `failed`, `unknown` and "
    "`deferred`"
)
_JSON = (
    f"a list of objects with {_RUN}. For one RUN it prints an object with these and `chunks`, `chunks_finished`, "
    "`suppressed`, `expired`, `unreachable`, `repeated`, `dropped`, `deliveries` and `ended` (expected and ended "
    "deliveries), `rate` (messages a second) in the last `rate_seconds`, `average` (since it was planned), "
    "`left_seconds`, `failures` (deliveries by error class) and `deferrals` (a list of `reason`, `destination`, "
    "`error_class` of the last answer, `deliveries`, `next_at` and `last_at`); with --follow a line for each refresh"
)


@examples("sluice notify status", "sluice notify status 17 --follow", json=_JSON)
def status(
    run_id: Annotated[
        int | None,
        typer.Argument(
            metavar="RUN", help="The run's number; by default the latest are listed.", callback=require_run_id
        ),
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Refresh until the run has ended.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of runs to list.", min=1, max=1_000)] = 10,
    as_json: AsJson = False,
) -> None:
    """List the latest runs; or show a run's progress, rate, time left, and why deliveries failed."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import progress

    if run_id is None and follow:
        raise typer.BadParameter("--follow needs the run to follow; `notify status` lists them")
    with connect_warehouse() as db:
        if run_id is None:
            _print_runs(progress.list_latest(db, limit=limit), as_json=as_json)
        elif follow:
            _follow(db, run_id, as_json=as_json)
        else:
            _print_progress(_read_progress(db, run_id), as_json=as_json)


def _print_runs(runs: list[RunStatus], *, as_json: bool) -> None:
    if as_json:
        print_json(runs)
    elif runs:
        counts = ("recipients", "sent", "failed", "unknown", "deferred")
        rows = [
            (
                *(str(run.run_id), run.notice, run.period, run.state),
                f"{run.planned_at.astimezone(UTC):%Y-%m-%d %H:%M}",
                *(run.recipients, run.sent, run.failed, run.unknown, run.deferred),
            )
            for run in runs
        ]
        print_table(("run", "notice", "period", "state", "planned (UTC)", *counts), rows, numbers=counts)
    else:
        typer.echo("No run of a notice was planned yet.")


def _read_progress(db: Connection, run_id: int) -> RunProgress:
    from etl.notify.progress import read_progress
    from etl.notify.store import progress

    name = progress.find_status(db, run_id).notice
    channel_count = next((len(notice.channels) for notice in NOTICES if notice.name == name), 1)
    return read_progress(run_id, channel_count=channel_count, as_of=datetime.now(UTC), db=db)


def _print_progress(run_progress: RunProgress, *, as_json: bool) -> None:
    if as_json:
        print_json(_to_document(run_progress))
    else:
        open_console().print(_render(run_progress))


def _follow(db: Connection, run_id: int, *, as_json: bool) -> None:
    from rich.live import Live

    run_progress = _read_progress(db, run_id)
    console = open_console()
    is_live = console.is_terminal and not as_json
    with Live(console=console, auto_refresh=False) if is_live else nullcontext() as live:
        while True:
            if live is None:
                _print_progress(run_progress, as_json=as_json)
            else:
                live.update(_render(run_progress), refresh=True)
            if run_progress.is_over:
                return
            time.sleep(REFRESH_INTERVAL.total_seconds())
            run_progress = _read_progress(db, run_id)


def _to_document(run_progress: RunProgress) -> dict[str, Any]:
    return {
        **asdict(run_progress.run),
        **run_progress.totals,
        "deliveries": run_progress.expected_deliveries,
        "ended": run_progress.ended_deliveries,
        "rate": run_progress.rate,
        "rate_seconds": run_progress.recent.seconds,
        "average": run_progress.average_rate,
        "left_seconds": run_progress.time_left,
        "failures": run_progress.failures,
        "deferrals": run_progress.deferrals,
    }


def _render(run_progress: RunProgress) -> Group:
    from rich.console import Group
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
    lines: list[RenderableType] = [escape_unprintable(heading), bar, _describe_rate(run_progress), counts]
    if run_progress.failures:
        classes = [f"    {count:,}  {name}" for name, count in run_progress.failures.items()]
        lines.append(escape_unprintable("\n".join(["failed deliveries by error class:", *classes])))
    if run_progress.deferrals:
        lines.append(escape_unprintable("\n".join(_describe_deferrals(run_progress.deferrals))))
    return Group(*lines)


def _describe_deferrals(groups: Sequence[DeferralGroup]) -> list[str]:
    lines = ["deferred deliveries by reason, destination and last answer:"]
    for group in groups[:_MAX_GROUPS]:
        why = ", ".join(filter(None, (group.reason, group.destination, group.error_class)))
        lines.append(f"    {group.deliveries:,}  {why}; next at {group.next_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")
    if others := groups[_MAX_GROUPS:]:
        lines.append(f"    {sum(group.deliveries for group in others):,}  in {len(others):,} smaller groups")
    return lines


def _describe_rate(run_progress: RunProgress) -> str:
    lines = []
    if run_progress.rate is not None:
        lines.append(f"{run_progress.rate:,.1f} messages a second over the last {run_progress.recent.seconds:.0f} s")
    if run_progress.average_rate is not None:
        lines.append(f"{run_progress.average_rate:,.1f} a second since the run was planned")
    if run_progress.time_left is not None:
        left = timedelta(seconds=round(run_progress.time_left.total_seconds()))
        lines.append(
            f"{left} left{'' if run_progress.rate else ' at its pace'}, "
            f"until {run_progress.as_of + left:%Y-%m-%d %H:%M:%S} UTC"
        )
    expires_at = run_progress.run.expires_at
    if expires_at is not None and not run_progress.is_over:
        lines.append(f"expires {expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines) or "nothing was sent yet"
