"""`python -m etl notify pace`, `pause`, `resume`, `cancel`: steer a run of a notice while it goes on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.arguments import RunId
from etl.settings import Endpoint

if TYPE_CHECKING:
    from etl.notify.store.runs import State

_PACE = re.compile(r"(\d+(?:\.\d+)?)(/s)?")
_SLOWEST, _FASTEST = 0.001, 1_000_000
"""Beyond these senders count in seconds that cannot be written, or without an end."""


def pace(
    run_id: RunId, messages: Annotated[str, typer.Argument(help="Messages a second over all workers: 500/s.")]
) -> None:
    """Change how fast a run is sent; senders follow within two seconds."""
    found = _PACE.fullmatch(messages)
    if not found:
        raise typer.BadParameter(f"{messages!r} is no pace; write messages a second, such as 500/s")
    if float(found[1]) and not _SLOWEST <= float(found[1]) <= _FASTEST:
        raise typer.BadParameter(f"write {_SLOWEST:g} to {_FASTEST:,} messages a second, or 0 to send nothing")
    _steer(run_id, pace=float(found[1]), done=f"at most {float(found[1]):g} messages a second")


def pause(run_id: RunId) -> None:
    """Send nothing more until it is resumed; nothing is lost."""
    from etl.notify.store.runs import State

    _steer(run_id, state=State.PAUSED, done="paused")


def resume(run_id: RunId) -> None:
    """Go on with a run that was paused; its tasks come back within a minute."""
    from etl.notify.store.runs import State

    _steer(run_id, state=State.RUNNING, done="goes on")


def cancel(run_id: RunId) -> None:
    """End a run for good; what was sent stays in the ledger."""
    from etl.notify.store.runs import State

    _steer(run_id, state=State.CANCELLED, done="cancelled")


def _steer(run_id: int, *, pace: float | None = None, state: State | None = None, done: str) -> None:
    from etl.db import connection as warehouse
    from etl.notify.store import runs

    with warehouse.connect(Endpoint.from_environment("warehouse")) as connection:
        run = runs.find(connection, run_id)
        if not runs.steer(connection, run_id, pace=pace, state=state):
            raise typer.BadParameter(f"run {run_id} is {run.state} already, so nothing was changed")
    typer.echo(f"{run.notice} {run.period}: {done}")
