"""What a person, or time, does between the runs of a history, and what a run does beside its steps."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.errors import SluiceError

if TYPE_CHECKING:
    from tests.integration.sync.hostile.history import History


def let_time_pass(db: Connection) -> None:
    """Let the waits of logins end, after which they are tried again."""
    db.execute("update core.provider_accounts set next_try_at = now() where state = 'needs_login'")


def check_logins(entity: Entity, run_id: str, *, db: Connection) -> None:
    """Fail as the last task of a run does, if too many of its logins stopped or are quarantined."""
    if breaker := _module("etl.sync.logins.breaker"):
        breaker.check_logins(entity, run_id, db=db)


def decide(history: History, *, honest_since: int) -> bool:
    """Accept quarantines, and decide about rows that full reads lacked; return whether there was anything to decide.

    Parameters
    ----------
    honest_since
        Id of the last raw batch that the bank may have misled its reader with.
    """
    accepted = _accept_quarantines(history)
    return _decide_reconciliations(history, honest_since) or accepted


def _decide_reconciliations(history: History, honest_since: int) -> bool:
    """Bring back what a misled read ended, and end what an honest one lacked."""
    pending = history.pipeline.db.execute(
        "select provider_account_id, max(raw_id) from etl.reconciliations where state = 'pending' group by 1 order by 1"
    ).fetchall()
    resync = _module("etl.sync.resync")
    if not pending or resync is None:
        return False
    numbers = {account_id: number for number, account_id in history.logins.items()}
    misled = history.server.bank.readers.misled
    entities = {history.entities.transactions.name: history.entities.transactions}
    for account_id, raw_id in pending:
        is_misled = numbers.get(account_id) in misled and raw_id <= honest_since
        decision = resync.revoke if is_misled else resync.approve
        decision([account_id], entities=entities, db=history.pipeline.db, root=history.pipeline.root)
    return True


def _accept_quarantines(history: History) -> bool:
    """Load what is good of quarantined logins."""
    quarantined = history.pipeline.db.execute(
        "select provider_account_id, entity from etl.quarantines order by 1, 2"
    ).fetchall()
    accept = getattr(_module("etl.sync.load"), "accept", None)
    if not quarantined or accept is None:
        return False
    entities = {each.name: each for each in (history.entities.transactions, history.entities.accounts)}
    for account_id, entity in quarantined:
        # A batch that a later one has overtaken cannot be accepted; the next run downloads another.
        with suppress(SluiceError):
            accept(entities[entity], account_id, db=history.pipeline.db, root=history.pipeline.root)
    return True


def _module(name: str) -> Any | None:
    """Return a module of the product; None while it does not exist."""
    return import_module(name) if find_spec(name) else None
