"""Behaviours of the machine: steps that are killed in their middle, run twice, or finish late."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from etl.conform import edits, scratch
from etl.conform.banks import Asked
from etl.conform.play import Play
from etl.conform.verdict import Wrong
from etl.db import connection as warehouses


def killed_download(play: Play) -> str:
    """Kill a download while it waits for a page."""
    (ordinal,) = play.steps.plan()
    index = 1 if len(play.pages) > 1 else 0
    with warehouses.connect(play.steps.warehouse) as killer:

        def kill(asked: Asked) -> None:
            if asked.index == index:
                scratch.kill_step(killer)

        play.intercept(kill)
        with play.steps.dying() as db:
            play.steps.download(ordinal, db=db)
    play.calm()
    return _finish(play, ordinal)


def killed_store_raw(play: Play) -> str:
    """Kill the sealing of a chunk before its raw batch is recorded."""

    def kill(ordinal: int) -> None:
        play.steps.download(ordinal)
        play.steps.kill(lambda db: play.steps.store_raw(ordinal, db=db), at="etl.raw_batches")

    return _kill(play, kill)


def killed_transform(play: Play) -> str:
    """Kill the transformation of a raw batch before it ends."""

    def kill(ordinal: int) -> None:
        play.steps.download(ordinal)
        raw_id = play.steps.store_raw(ordinal)
        play.steps.kill(lambda db: play.steps.transform(raw_id, db=db), at="etl.field_warnings")

    return _kill(play, kill)


def killed_load(play: Play) -> str:
    """Kill a load in the middle of its transaction."""

    def kill(ordinal: int) -> None:
        raw_id = play.steps.fetch(ordinal)
        play.steps.kill(lambda db: play.steps.load(raw_id, db=db), at=f"core.{play.entity.name}")
        if any(scratch.rows_of(play.steps.db, play.entity)) or scratch.cursors_of(play.steps.db, play.source.name):
            raise Wrong("a load that was killed in its middle has left rows or a cursor")

    return _kill(play, kill)


def repeated_steps(play: Play) -> str:
    """Run each step twice, as after a worker that died before it could say that it was done."""
    for ordinal in play.steps.plan():
        play.steps.download(ordinal)
        play.steps.download(ordinal)
        raw_id = play.steps.store_raw(ordinal)
        if play.steps.store_raw(ordinal) != raw_id:
            raise Wrong("sealing a chunk twice made two raw batches")
        play.steps.transform(raw_id)
        play.steps.transform(raw_id)
        play.steps.load(raw_id)
        play.steps.load(raw_id)
    play.steps.finish()
    play.require_equal(play.original)
    return "nothing was loaded twice"


def zombie(play: Play) -> str:
    """Load a batch late, after a newer one was loaded."""
    late = [play.steps.fetch(ordinal) for ordinal in play.steps.plan()]
    changed = play.original.copy()
    column = edits.change_text(play.entity, play.source, changed, play.victim)
    play.calm(changed)
    play.run()
    play.require_in_this_run(changed)
    for raw_id in late:
        play.steps.try_step(partial(play.steps.load, raw_id))
    play.steps.finish()
    play.require_equal(changed)
    return f"the older batch changed nothing; {column.name} stayed as the newer one has it"


def _kill(play: Play, kill: Callable[[int], None]) -> str:
    """Kill a step of the run, and then let it continue as Airflow does."""
    (ordinal,) = play.steps.plan()
    kill(ordinal)
    return _finish(play, ordinal)


def _finish(play: Play, ordinal: int) -> str:
    play.steps.load(play.steps.fetch(ordinal))
    play.steps.finish()
    play.require_equal(play.original)
    return "the step began again, and the tables are equal"
