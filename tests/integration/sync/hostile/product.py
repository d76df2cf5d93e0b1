"""What a person, or time, does between the runs of a history, and what a run does beside its steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from upath import UPath

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import SluiceError


def let_time_pass(db: Connection) -> None:
    """Let the waits of logins end, after which they are tried again."""
    db.execute("update core.provider_accounts set next_try_at = now() where state = 'needs_login'")


def check_logins(entity: Entity, run_id: str, *, db: Connection) -> None:
    """Fail as the last task of a run does, if too many of its logins stopped or are quarantined."""
    if breaker := _module("etl.sync.logins.breaker"):
        breaker.check_logins(entity, run_id, db=db)


def accept_quarantines(entities: Mapping[str, Entity], *, db: Connection, root: UPath) -> bool:
    """Load what is good of quarantined logins; return whether there were any."""
    quarantined = db.execute("select provider_account_id, entity from etl.quarantines order by 1, 2").fetchall()
    accept = getattr(_module("etl.sync.load"), "accept", None)
    if not quarantined or accept is None:
        return False
    for account_id, entity in quarantined:
        # A batch that a later one has overtaken cannot be accepted; the next run downloads another.
        with suppress(SluiceError):
            accept(entities[entity], account_id, db=db, root=root)
    return True


def decide_reconciliations(
    misled: Collection[int], honest_since: int, *, entities: Mapping[str, Entity], db: Connection, root: UPath
) -> bool:
    """Bring back what misled reads ended, and end what honest ones lacked; return whether any waited for a decision.

    Parameters
    ----------
    misled
        Provider accounts of which a full read lacked records that it should have had.
    honest_since
        Id of the last raw batch that may hold such a read.
    """
    pending = db.execute(
        "select provider_account_id, max(raw_id) from etl.reconciliations where state = 'pending' group by 1 order by 1"
    ).fetchall()
    resync = _module("etl.sync.resync")
    if not pending or resync is None:
        return False
    for account_id, raw_id in pending:
        decide = resync.revoke if account_id in misled and raw_id <= honest_since else resync.approve
        decide([account_id], entities=entities, db=db, root=root)
    return True


def _module(name: str) -> Any | None:
    """Return a module of the product; None while it does not exist."""
    return import_module(name) if find_spec(name) else None
