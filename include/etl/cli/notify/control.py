"""`python -m etl notify pace`, `pause`, `resume`, `cancel`: steer a run of a notice while it goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import RunId

if TYPE_CHECKING:
    from etl.notify.store.runs import RunState

_PACE = re.compile(r"(\d+(?:\.\d+)?)(/s)?")
_MIN_PACE, _MAX_PACE = 0.001, 1_000_000
"""Beyond these senders count in seconds that cannot be written, or without an end."""


def pace(
    run_id: RunId, messages: Annotated[str, typer.Argument(help="Messages a second over all workers: 500/s.")]
) -> None:
    """Change how fast a run is sent; senders follow within two seconds."""
    found = _PACE.fullmatch(messages)
    if not found:
        raise typer.BadParameter(f"{messages!r} is no pace; write messages a second, such as 500/s")
    if float(found[1]) and not _MIN_PACE <= float(found[1]) <= _MAX_PACE:
        raise typer.BadParameter(f"write {_MIN_PACE:g} to {_MAX_PACE:,} messages a second, or 0 to send nothing")
    _update_run(run_id, pace=float(found[1]), message=f"at most {float(found[1]):g} messages a second")


def pause(run_id: RunId) -> None:
    """Send nothing more until it is resumed; nothing is lost."""
    from etl.notify.store.runs import RunState

    _update_run(run_id, state=RunState.PAUSED, message="paused")


def resume(run_id: RunId) -> None:
    """Go on with a run that was paused; its tasks come back within a minute."""
    from etl.notify.store.runs import RunState

    _update_run(run_id, state=RunState.RUNNING, message="goes on")


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
