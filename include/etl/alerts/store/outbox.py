"""Outbox of alert mails, table `etl.promises`: each kind is sent at most once a run, and retried if it fails."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from etl.alerts.alert import Alert, AlertKind
from etl.clients.mail import MailContent
from etl.db.connection import Connection
from etl.db.statements import StatementFile

_SQL = StatementFile("alerts/outbox")

LEASE = timedelta(minutes=5)
"""How long a process may hold a mail without a result before another may claim it; well above the longest attempt."""
MAX_AGE = timedelta(hours=24)
"""Age from which an unsent mail is no longer retried."""
UNSAVED_ID = 0
"""Stands for the row id of a mail that has no row."""
_SUPERSEDED_BY = {
    AlertKind.FORECAST: (AlertKind.MISSED, AlertKind.FAILED, AlertKind.RECOVERED),
    AlertKind.MISSED: (AlertKind.FAILED, AlertKind.RECOVERED),
}
_INDEPENDENT = (AlertKind.LOGINS_STOPPED, AlertKind.HELD, AlertKind.RESUMED)
"""Kinds that say nothing about the end of the run."""
_DISCARDABLE = tuple(kind.value for kind in AlertKind if kind is not AlertKind.LOGINS_STOPPED)
"""Kinds that a later mail about the run contains or corrects."""
_MAX_MAILS = 5


@dataclass(frozen=True)
class OutboxMail:
    """A mail that the caller has claimed and must send now.

    Parameters
    ----------
    promise_id
        Id of its row; `UNSAVED_ID` if it has none.
    kind
        Kind of alert.
    dag_id, run_id
        The run.
    subject, body, html
        Content of the mail; `body` is its text form.
    """

    promise_id: int
    kind: str
    dag_id: str
    run_id: str
    subject: str
    body: str
    html: str

    @property
    def content(self) -> MailContent:
        """The mail without its addresses."""
        return MailContent(self.subject, self.body, self.html)

    @property
    def thread_id(self) -> str:
        """An id that all mails about the run share."""
        return f"run.{sha256(f'{self.dag_id}/{self.run_id}'.encode()).hexdigest()[:32]}"

    @property
    def message_id(self) -> str:
        """An id that no other mail has, and that stays the same when the mail is sent again."""
        return f"{self.kind}.{self.thread_id}"


@dataclass(frozen=True)
class AlertRecord:
    """A mail about a run, as recorded.

    Parameters
    ----------
    kind
        Kind of alert.
    deadline_at
        Deadline of the run, as the mail states it.
    sent_at
        When it was sent; None if it was not.
    """

    kind: str
    deadline_at: datetime | None
    sent_at: datetime | None


def enqueue(db: Connection, alert: Alert, content: MailContent) -> OutboxMail | None:
    """Record a mail, and return it claimed by the caller; None if the run has had it, or one that supersedes it.

    Unsent mails about the end of the run are discarded: the new one contains all that they say. A mail about stopped
    logins, or a hold, says something else, and discards none.
    """
    values = {
        "dag_id": alert.dag_id,
        "run_id": alert.run_id,
        "kind": alert.kind.value,
        "promised_by": alert.deadline_at,
        "superseded_by": [kind.value for kind in _SUPERSEDED_BY.get(alert.kind, ())],
        "subject": content.subject,
        "body": content.text,
        "html": content.html,
    }
    with db.transaction():
        mail = _SQL["enqueue"].first(db, OutboxMail, values)
        if mail and alert.kind not in _INDEPENDENT:
            _SQL["discard_unsent"].run(db, {**values, "kinds": list(_DISCARDABLE), "promise_id": mail.promise_id})
    return mail


def claim_unsent(db: Connection, *, except_ids: Collection[int] = ()) -> list[OutboxMail]:
    """Claim and return mails that could not be sent before, at most five, the oldest first."""
    values = {"lease": LEASE, "max_age": MAX_AGE, "except_ids": list(except_ids), "limit": _MAX_MAILS}
    return _SQL["claim_unsent"].objects(db, OutboxMail, values)


def discard_unsent(db: Connection, *, dag_id: str, run_id: str) -> None:
    """Discard the unsent mails about the end of a run, which are out of date."""
    values = {"dag_id": dag_id, "run_id": run_id, "kinds": list(_DISCARDABLE), "promise_id": UNSAVED_ID}
    _SQL["discard_unsent"].run(db, values)


def mark_sent(db: Connection, mail: OutboxMail) -> None:
    """Record that the server accepted a mail."""
    _SQL["mark_sent"].run(db, {"promise_id": mail.promise_id})


def mark_failed(db: Connection, mail: OutboxMail, error: str) -> None:
    """Record why a mail could not be sent; the next alert of any run retries it."""
    _SQL["mark_failed"].run(db, {"promise_id": mail.promise_id, "error": error})


def alerts_of_run(db: Connection, *, dag_id: str, run_id: str) -> dict[AlertKind, AlertRecord]:
    """Return the recorded mails about a run by kind, sent or not."""
    records = _SQL["alerts_of_run"].objects(db, AlertRecord, {"dag_id": dag_id, "run_id": run_id})
    return {AlertKind(record.kind): record for record in records}
