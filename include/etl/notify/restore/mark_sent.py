"""Mark sent: writes messages that were sent after a backup into the ledger that was restored from it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from etl.db import locks
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.restore.mail_log import LoggedMail
from etl.notify.store import chunks, recipients, restores, runs
from etl.notify.store.runs import NoticeRun, RunState

log = logging.getLogger(__name__)

_PAGE = 1_000


class RunNotHeld(PermanentError):
    """Messages can be added to the ledger only while their run sends nothing."""

    def __init__(self, run: NoticeRun) -> None:
        super().__init__(
            f"run {run.run_id} ({run.notice} {run.period}) is {run.state}; only a held run can be told what was sent. "
            f"`sluice notify status` lists them."
        )


@dataclass(frozen=True)
class MarkedMails:
    """What was written into the ledger.

    Parameters
    ----------
    known
        Deliveries of the backup that had not ended, and are sent.
    lost
        Deliveries that were not in the backup, by run.
    are_certain
        Whether the lost ones are `sent`; if several runs may have sent them, they are `unknown`.
    """

    known: int
    lost: Mapping[int, int]
    are_certain: bool


def mark_logged(
    db: Connection, mails: Iterable[LoggedMail], *, notices: Collection[Notice], run_ids: Collection[int] = ()
) -> MarkedMails:
    """Mark what a mail server accepted after the backup as sent.

    Ids of deliveries that the backup does not have say nothing about their run; whoever got such a mail is taken as
    told by each run that might have sent it.

    Parameters
    ----------
    notices
        All declared notices.
    run_ids
        The held runs that may have sent the mails; empty for all that send mails.

    Raises
    ------
    RunNotHeld
        If a run is not held.
    LockTaken
        If a chunk is being sent.
    """
    logged = list(mails)
    lost = restores.is_lost(db, [mail.delivery_id for mail in logged])
    known = restores.mark_known(db, [mail.delivery_id for mail in logged if mail.delivery_id not in lost])
    addresses = {mail.address for mail in logged if mail.delivery_id in lost}
    marked = mark_addresses(db, addresses, notices=notices, run_ids=run_ids)
    return MarkedMails(known, marked.lost, marked.are_certain)


def mark_addresses(
    db: Connection, addresses: Collection[str], *, notices: Collection[Notice], run_ids: Collection[int] = ()
) -> MarkedMails:
    """Mark the owners of mail addresses as told by held runs, as `mark_logged` does with lost deliveries."""
    by_name = {notice.name: notice for notice in notices}
    candidates = [runs.find(db, run_id) for run_id in run_ids or restores.list_held(db)]
    for run in candidates:
        if run.state != RunState.HELD.value:
            raise RunNotHeld(run)
    mailing = [
        (by_name[run.notice], run)
        for run in candidates
        if run.notice in by_name and any(channel.name == "email" for channel in by_name[run.notice].channels)
    ]
    users = restores.list_users(db, {address.lower() for address in addresses}) if addresses and mailing else set()
    is_certain = len(mailing) == 1
    state = "sent" if is_certain else "unknown"
    lost = {run.run_id: _mark_users(db, notice, run, users, state=state) for notice, run in mailing if users}
    return MarkedMails(0, lost, is_certain)


def _mark_users(db: Connection, notice: Notice, run: NoticeRun, users: Collection[int], *, state: str) -> int:
    """Mark users as told in the chunks of a run that are not finished."""
    marked = 0
    for ordinal in chunks.list_unfinished(db, run.run_id):
        with locks.hold(db, f"notify.{run.run_id}.{ordinal}"):
            chunk = chunks.find(db, run.run_id, ordinal)
            after = chunk.position
            while page := recipients.read_page(db, notice, run, after=after, stop=chunk.stop, limit=_PAGE):
                told = [recipient for recipient in page if recipient.user_id in users]
                marked += restores.add_lost(db, run, chunk, told, state=state) if told else 0
                after = page[-1].position
    log.info("%s %s: run %d: %d deliveries are %s", run.notice, run.period, run.run_id, marked, state)
    return marked
