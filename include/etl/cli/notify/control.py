"""`sluice notify pace`, `pause`, `resume` and `cancel`: control a run of a notice while it is sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import RunId
from etl.cli.help import examples

if TYPE_CHECKING:
    from etl.notify.store.runs import RunState

_PACE = re.compile(r"(\d+(?:\.\d+)?)(/s)?")
_MIN_PACE, _MAX_PACE = 0.001, 1_000_000
"""Messages a second; senders cannot represent the waits of other paces."""


@examples("sluice notify pace 17 500/s", "sluice notify pace 17 0/s")
def pace(
    run_id: RunId,
    messages: Annotated[
        str, typer.Argument(metavar="PACE", help="Messages a second over all workers, such as 500/s; 0 sends none.")
    ],
) -> None:
    """Change how fast a run is sent; senders follow within two seconds."""
    match = _PACE.fullmatch(messages)
    if not match:
        raise typer.BadParameter(f"{messages!r} is no pace; write messages a second, such as 500/s")
    number = float(match[1])
    if number and not _MIN_PACE <= number <= _MAX_PACE:
        raise typer.BadParameter(f"write {_MIN_PACE:g} to {_MAX_PACE:,} messages a second, or 0 to send nothing")
    _update_run(run_id, pace=number, message=f"at most {number:g} messages a second")


@examples("sluice notify pause 17")
def pause(run_id: RunId) -> None:
    """Stop sending until the run is resumed; nothing is lost."""
    from etl.notify.store.runs import RunState

    _update_run(run_id, state=RunState.PAUSED, message="paused")


@examples("sluice notify resume 17")
def resume(run_id: RunId) -> None:
    """Continue a paused or held run, and try at once what was refused; its tasks return within two minutes."""
    from etl.notify.store.runs import RunState

    _update_run(run_id, state=RunState.RUNNING, message="resumed")


@examples("sluice notify cancel 17")
def cancel(run_id: RunId) -> None:
    """End a run for good; what was sent stays in the ledger."""
    from etl.notify.store.runs import RunState

    _update_run(run_id, state=RunState.CANCELLED, message="cancelled")


def _update_run(run_id: int, *, pace: float | None = None, state: RunState | None = None, message: str) -> None:
    from etl.db.connection import connect_warehouse
    from etl.notify.store import runs

    with connect_warehouse() as db:
        run = runs.find(db, run_id)
        if not runs.set_pace_or_state(db, run_id, pace=pace, state=state):
            raise typer.BadParameter(f"run {run_id} is {run.state} already, so nothing was changed")
    typer.echo(f"{run.notice} {run.period}: {message}")
