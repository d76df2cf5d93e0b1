"""What people were told of the promises of runs: each kind of mail at most once a run."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from psycopg.rows import class_row

from etl.alerts.alert import Alert, AlertKind
from etl.clients.mail import MailContent
from etl.db.connection import Connection
from etl.db.statements import statement

LEASE = timedelta(minutes=5)
"""How long whoever took a mail may be silent before another sends it; well above the longest attempt."""
MAX_AGE = timedelta(hours=24)
"""Age from which a mail that could not be sent is let go."""
UNSAVED_ID = 0
"""In place of the id of a row, for a mail that has none."""
_SUPERSEDED_BY = {
    AlertKind.FORECAST: (AlertKind.MISSED, AlertKind.FAILED, AlertKind.RECOVERED),
    AlertKind.MISSED: (AlertKind.FAILED, AlertKind.RECOVERED),
}
_MAX_MAILS = 5


@dataclass(frozen=True)
class OutboxMail:
    """A mail that is to be sent now, by whoever holds it.

    Parameters
    ----------
    promise_id
        Its row.
    kind
        Which mail.
    dag_id, run_id
        Which run.
    subject, body, html
        What it says.
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
        """A name that all mails about the run share."""
        return f"run.{sha256(f'{self.dag_id}/{self.run_id}'.encode()).hexdigest()[:32]}"

    @property
    def message_id(self) -> str:
        """A name that no other mail has, and that stays when it is sent again."""
        return f"{self.kind}.{self.thread_id}"


@dataclass(frozen=True)
class AlertRecord:
    """A mail about a run.

    Parameters
    ----------
    kind
        Which mail.
    deadline_at
        What it said of the promise.
    sent_at
        When it was sent; None if it has not been yet.
    """

    kind: str
    deadline_at: datetime | None
    sent_at: datetime | None


def enqueue(db: Connection, alert: Alert, content: MailContent) -> OutboxMail | None:
    """Return the mail as one that the caller must send now; None if the run has had it, or needs it no more.

    Mails of the run that could not be sent yet are withdrawn: the newest says it all.
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
    with db.transaction(), db.cursor(row_factory=class_row(OutboxMail)) as cursor:
        letter = cursor.execute(statement("alerts/outbox", "enqueue"), values).fetchone()
        if letter:
            cursor.execute(statement("alerts/outbox", "discard_unsent"), {**values, "promise_id": letter.promise_id})
    return letter


def claim_unsent(db: Connection, *, except_ids: Collection[int] = ()) -> list[OutboxMail]:
    """Return mails that could not be sent before, as ones that the caller must send now; the oldest first."""
    values = {"lease": LEASE, "max_age": MAX_AGE, "except_ids": list(except_ids), "limit": _MAX_MAILS}
    with db.cursor(row_factory=class_row(OutboxMail)) as cursor:
        return cursor.execute(statement("alerts/outbox", "claim_unsent"), values).fetchall()


def discard_unsent(db: Connection, *, dag_id: str, run_id: str) -> None:
    """Let go of mails about a run that could not be sent yet, and are out of date."""
    run = {"dag_id": dag_id, "run_id": run_id, "promise_id": UNSAVED_ID}
    db.execute(statement("alerts/outbox", "discard_unsent"), run)


def mark_sent(db: Connection, mail: OutboxMail) -> None:
    """Remember that the server took a mail."""
    db.execute(statement("alerts/outbox", "mark_sent"), {"promise_id": mail.promise_id})


def mark_failed(db: Connection, mail: OutboxMail, error: str) -> None:
    """Remember why a mail could not be sent; the next alert tries again."""
    db.execute(statement("alerts/outbox", "mark_failed"), {"promise_id": mail.promise_id, "error": error})


def alerts_of_run(db: Connection, *, dag_id: str, run_id: str) -> dict[AlertKind, AlertRecord]:
    """Return what was told of a run, or was to be."""
    with db.cursor(row_factory=class_row(AlertRecord)) as cursor:
        rows = cursor.execute(
            statement("alerts/outbox", "alerts_of_run"), {"dag_id": dag_id, "run_id": run_id}
        ).fetchall()
    return {AlertKind(row.kind): row for row in rows}
