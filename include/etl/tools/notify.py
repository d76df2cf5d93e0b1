"""`python -m etl notify`: see how far a run of a notice has come, and steer it while it goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from etl.settings import Endpoint
from etl.tools.announce import send

if TYPE_CHECKING:
    from etl.stores.notice_runs import State

app = typer.Typer(help="Runs of notices: how far they are, and how fast.", no_args_is_help=True)
app.command()(send)

_PACE = re.compile(r"(\d+(?:\.\d+)?)(/s)?")
_Run = Annotated[int, typer.Argument(help="Its run_id in notify.runs, as its planning logged it.")]


@app.command()
def status(run_id: _Run) -> None:
    """Show what came of a run so far."""
    from etl.stores import notice_runs, warehouse

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        run = notice_runs.find(connection, run_id)
        totals = notice_runs.totals(connection, run_id)
    typer.echo(f"{run.notice} {run.period}: {run.state}, at most {run.pace:g} messages a second")
    for name, count in totals.items():
        typer.echo(f"    {name.replace('_', ' ')}: {count:,}")


@app.command()
def pace(
    run_id: _Run, messages: Annotated[str, typer.Argument(help="Messages a second over all workers: 500/s.")]
) -> None:
    """Change how fast a run is sent; senders follow within two seconds."""
    found = _PACE.fullmatch(messages)
    if not found:
        raise typer.BadParameter(f"{messages!r} is no pace; write messages a second, such as 500/s")
    _steer(run_id, pace=float(found[1]), done=f"at most {float(found[1]):g} messages a second")


@app.command()
def pause(run_id: _Run) -> None:
    """Send nothing more until it is resumed; nothing is lost."""
    from etl.stores.notice_runs import State

    _steer(run_id, state=State.PAUSED, done="paused")


@app.command()
def resume(run_id: _Run) -> None:
    """Go on with a run that was paused; its tasks are at it within seconds, or within a minute of a longer pause."""
    from etl.stores.notice_runs import State

    _steer(run_id, state=State.RUNNING, done="goes on")


@app.command()
def cancel(run_id: _Run) -> None:
    """End a run for good; what was sent stays in the ledger."""
    from etl.stores.notice_runs import State

    _steer(run_id, state=State.CANCELLED, done="cancelled")


def _steer(run_id: int, *, pace: float | None = None, state: State | None = None, done: str) -> None:
    from etl.stores import notice_runs, warehouse

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        run = notice_runs.find(connection, run_id)
        if not notice_runs.steer(connection, run_id, pace=pace, state=state):
            raise typer.BadParameter(f"run {run_id} is {run.state} already, so nothing was changed")
    typer.echo(f"{run.notice} {run.period}: {done}")
