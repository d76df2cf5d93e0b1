"""`python -m etl notify status`: how far runs of notices are, how fast they go, and what failed."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.catalog.notices import NOTICES
from etl.settings import Endpoint

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from etl.db.connection import Warehouse
    from etl.notify.progress import Progress
    from etl.notify.store.progress import RunStatus

LOOK_EVERY = timedelta(seconds=2)

_WIDE = 160
_COUNTS = ("sent", "failed", "suppressed", "expired", "unknown", "unreachable", "repeated")
_RARE = ("dropped", "reopened")
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
    from etl.db import connection as warehouse
    from etl.notify.store import progress

    if run_id is None and follow:
        raise typer.BadParameter("--follow needs the run that it shall follow; `notify status` lists them")
    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        if run_id is None:
            _list(progress.latest(connection, limit=limit), as_json=as_json)
        elif follow:
            _follow(connection, run_id, as_json=as_json)
        else:
            _show(_look(connection, run_id), as_json=as_json)


def _list(runs: list[RunStatus], *, as_json: bool) -> None:
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
    console = Console(highlight=False, markup=False, emoji=False, width=None if Console().is_terminal else _WIDE)
    console.print(table if runs else "No run of a notice was planned yet.")


def _look(warehouse: Warehouse, run_id: int) -> Progress:
    from etl.notify.progress import progress
    from etl.notify.store import progress as notice_progress

    name = notice_progress.of_run(warehouse, run_id).notice
    channels = next((len(notice.channels) for notice in NOTICES if notice.name == name), 1)
    return progress(run_id, channels=channels, as_of=datetime.now(UTC), warehouse=warehouse)


def _show(found: Progress, *, as_json: bool) -> None:
    from rich.console import Console

    if as_json:
        typer.echo(json.dumps(_plain(found), default=datetime.isoformat))
    else:
        Console(highlight=False, emoji=False).print(_drawn(found))


def _follow(warehouse: Warehouse, run_id: int, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    found = _look(warehouse, run_id)
    console = Console(highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            if as_json or not console.is_terminal:
                _show(found, as_json=as_json)
            else:
                live.update(_drawn(found), refresh=True)
            if found.over:
                return
            time.sleep(LOOK_EVERY.total_seconds())
            found = _look(warehouse, run_id)


def _plain(found: Progress) -> dict[str, Any]:
    return {
        **asdict(found.run),
        **found.totals,
        "deliveries": found.deliveries,
        "ended": found.ended,
        "rate": found.rate,
        "rate_seconds": found.pages.seconds,
        "average": found.average,
        "left_seconds": found.left.total_seconds() if found.left is not None else None,
        "failures": found.failures,
    }


def _drawn(found: Progress) -> Group:
    from rich.console import Group
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    run, totals = found.run, found.totals
    share = min(1.0, found.ended / found.deliveries) if found.deliveries else 1.0
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=1, completed=share, width=16),
        f"{share:.1%}",
        f"{found.ended:,} of {found.deliveries:,} deliveries,",
        f"{totals['chunks_finished']} of {totals['chunks']} chunks",
    )
    counts = Table.grid(padding=(0, 2))
    counts.add_column(justify="right")
    for name in (*_COUNTS, *(name for name in _RARE if totals[name])):
        counts.add_row(f"{totals[name]:,}", name, _MEANINGS.get(name, ""))
    heading = f"{run.notice} {run.period}, run {run.run_id}: {run.state}, at most {run.pace:g} messages a second"
    lines: list[RenderableType] = [escape(heading), bar, escape(_pace(found)), counts]
    if found.failures:
        classes = [f"    {count:,}  {name}" for name, count in found.failures.items()]
        lines.append(escape("\n".join(["failed, by class of error:", *classes])))
    return Group(*lines)


def _pace(found: Progress) -> str:
    told = []
    if found.rate is not None:
        told.append(f"{found.rate:,.1f} messages a second over the last {found.pages.seconds:.0f} s")
    if found.average is not None:
        told.append(f"{found.average:,.1f} a second since it was planned")
    if found.left is not None:
        left = timedelta(seconds=round(found.left.total_seconds()))
        told.append(
            f"{left} left{'' if found.rate else ' at its pace'}, until {found.as_of + left:%Y-%m-%d %H:%M:%S} UTC"
        )
    expires_at = found.run.expires_at
    if expires_at is not None and not found.over:
        told.append(f"expires {expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")
    return "\n".join(told) or "nothing was sent yet"
