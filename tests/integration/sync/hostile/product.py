"""What users, operators and time do between the runs of a history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from random import Random

from upath import UPath

from etl.catalog.providers.plaid import PLAID, TRANSACTIONS_SYNC
from etl.db.connection import Connection
from etl.declare.entity import Entity
from etl.sync import load, resync
from etl.sync.history import corrections
from etl.sync.load import NotAcceptable
from etl.sync.logins.link import enrol_login
from tests.integration.sync.hostile.corrections import CorrectedRow
from tests.integration.sync.pipeline import Pipeline


def link(pipeline: Pipeline, public_token: str, *, user: str, accounts: Entity) -> int:
    """Link a login as its user does, and return its provider account id."""
    return enrol_login(
        PLAID,
        public_token,
        user=user,
        db=pipeline.db,
        cipher=pipeline.cipher,
        endpoint=pipeline.endpoint,
        limiter=pipeline.limiter,
        history=TRANSACTIONS_SYNC.history,
        accounts=accounts,
    )


def end_waits_of_logins(db: Connection) -> None:
    """Let the waits of logins end, after which they are tried again."""
    db.execute("update core.provider_accounts set next_try_at = now() where state = 'needs_login'")


def correct_transaction(db: Connection, rng: Random, logins: Collection[int], *, ordinal: int) -> CorrectedRow | None:
    """Correct a random field of a random live transaction of some logins; None if there is none.

    Parameters
    ----------
    logins
        Provider accounts.
    ordinal
        Makes the new value unique.
    """
    live = db.execute(
        "select provider_account_id, transaction_id from core.transactions "
        "where removed_at is null and provider_account_id = any(%s) order by 1, 2",
        [list(logins)],
    ).fetchall()
    if not live:
        return None
    account_id, transaction_id = rng.choice(live)
    field = rng.choice(corrections.FIELDS)
    value = rng.random() < 0.5 if field == "is_ignored" else f"{field} {ordinal}"
    corrections.correct(db, account_id, transaction_id, values={field: value}, corrected_by="user")
    return CorrectedRow(account_id, transaction_id, field, value)


def accept_quarantines(entities: Mapping[str, Entity], *, db: Connection, root: UPath) -> None:
    """Load what is good of quarantined logins, unless a later batch has overtaken them."""
    for account_id, entity, _ in find_quarantines(db):
        with suppress(NotAcceptable):
            load.accept(entities[entity], account_id, db=db, root=root)


def find_unfinished(db: Connection) -> list[tuple[object, ...]]:
    """Return what the next run or a person has still to do: quarantines, decisions, and full reads of active logins."""
    rereads = db.execute(
        "select c.provider_account_id, 'full read' from etl.cursors as c "
        "inner join core.provider_accounts as p using (provider_account_id) where c.reread and p.state = 'active' "
        "order by 1"
    ).fetchall()
    return [*find_quarantines(db), *find_pending_reconciliations(db), *rereads]


def find_quarantines(db: Connection) -> list[tuple[int, str, str]]:
    """Return the quarantined logins, each with its entity and the rule that most of its records broke."""
    return db.execute(
        "select provider_account_id, entity, concat_ws(' ', path, rule) from etl.quarantines order by 1, 2"
    ).fetchall()


def find_pending_reconciliations(db: Connection) -> list[tuple[int, int]]:
    """Return the logins whose absent rows wait for a decision, each with its raw batch."""
    return db.execute(
        "select l.provider_account_id, l.raw_id from (select distinct on (r.provider_account_id) r.* "
        "from etl.reconciliations as r order by r.provider_account_id, r.raw_id desc) as l where l.state = 'pending' "
        "order by 1"
    ).fetchall()


def decide_reconciliations(
    misled: Collection[int], last_faulty_batch: int, *, entities: Mapping[str, Entity], db: Connection, root: UPath
) -> None:
    """Bring back what incomplete reads ended, and end what complete ones lacked.

    Parameters
    ----------
    misled
        Provider accounts of which the bank answered a full read without records that it should have had.
    last_faulty_batch
        Id of the last raw batch that may hold such a read.
    """
    for account_id, raw_id in find_pending_reconciliations(db):
        decide = resync.revoke if account_id in misled and raw_id <= last_faulty_batch else resync.approve
        decide([account_id], entities=entities, db=db, root=root)
