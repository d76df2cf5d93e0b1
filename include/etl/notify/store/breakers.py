"""Circuit breakers of the destinations of a notice, which all of its senders share, and the runs that they hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from etl.db.connection import Connection
from etl.db.statements import StatementFile
from etl.notify.health.breaker import Breaker
from etl.notify.store.chunks import NoticeChunk

_SQL = StatementFile("notify/breakers")

Key = tuple[str, str]
"""Channel and destination of a breaker."""


def read(db: Connection, notice_id: int) -> list[Breaker]:
    """Return the breakers of a notice; only destinations with recent refusals have one."""
    return _SQL["read"].objects(db, Breaker, {"notice_id": notice_id})


def list_open_destinations(db: Connection) -> list[Key]:
    """Return channels and destinations for which any notice has an open breaker."""
    return _SQL["list_open_destinations"].rows(db)


def change(
    db: Connection,
    notice_id: int,
    keys: Collection[Key],
    compute: Callable[[Sequence[Breaker], datetime], Sequence[Breaker]],
) -> list[tuple[Breaker, Breaker]]:
    """Lock breakers, which are added if they do not exist, store what is computed of them, and return both.

    Parameters
    ----------
    compute
        Called with the locked breakers and the instant by the database's clock; returns them in the same order.
    """
    selected = {"notice_id": notice_id, "channels": [key[0] for key in keys], "destinations": [key[1] for key in keys]}
    with db.transaction():
        _SQL["add"].run(db, selected)
        locked = _SQL["lock"].objects(db, Breaker, selected)
        changed = compute(locked, _SQL["clock"].scalar(db))
        values = {
            "notice_id": notice_id,
            "channels": [each.channel for each in changed],
            "destinations": [each.destination for each in changed],
            "counted_ats": [each.counted_at for each in changed],
            "states": [each.state for each in changed],
            "attempts": [float(each.attempts) for each in changed],
            "refusals": [float(each.refusals) for each in changed],
            "streaks": [float(each.streak) for each in changed],
            "trips": [each.trips for each in changed],
            "opened_ats": [each.opened_at for each in changed],
            "probe_ats": [each.probe_at for each in changed],
            "error_classes": [each.error_class for each in changed],
            "reasons": [each.reason for each in changed],
        }
        _SQL["save"].run(db, values)
    return list(zip(locked, changed, strict=True))


def forget(db: Connection, notice_id: int, healthy: Sequence[Breaker]) -> None:
    """Remove breakers, except those that have changed since they were read."""
    values = {
        "notice_id": notice_id,
        "channels": [each.channel for each in healthy],
        "destinations": [each.destination for each in healthy],
        "counted_ats": [each.counted_at for each in healthy],
    }
    _SQL["forget"].run(db, values)


def hold_runs(db: Connection, notice_id: int, reason: str) -> None:
    """Hold the running runs of a notice, whose channels refuse everything."""
    _SQL["hold_runs"].run(db, {"notice_id": notice_id, "reason": reason})


def resume_runs(db: Connection, notice_id: int) -> None:
    """Let the runs of a notice continue that were held since its channels refused everything."""
    _SQL["resume_runs"].run(db, {"notice_id": notice_id})


def recall(db: Connection, chunk: NoticeChunk, positions: Mapping[int, int], *, destination: str) -> None:
    """Defer deliveries of a chunk that failed a moment ago, and forget what was said against their addresses.

    Parameters
    ----------
    positions
        Delivery → position of its recipient in the audience.
    destination
        Where they were to go.
    """
    values = {
        "delivery_ids": list(positions),
        "positions": list(positions.values()),
        "destination": destination,
        "run_id": chunk.run_id,
        "ordinal": chunk.ordinal,
    }
    _SQL["recall"].run(db, values)
