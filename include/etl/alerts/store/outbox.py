"""What people were told of the promises of runs: each kind of mail at most once a run."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from psycopg.rows import class_row

from etl.alerts.alert import Kind, News
from etl.clients.mail import Mail
from etl.db.connection import Warehouse
from etl.db.statements import statement

LEASE = timedelta(minutes=5)
"""How long whoever took a mail may be silent before another sends it; well above the longest attempt."""
STALE = timedelta(hours=24)
"""Age from which a mail that could not be sent is let go."""
UNKEPT = 0
"""In place of the id of a row, for a mail that has none."""
_FINAL = {Kind.FORECAST: (Kind.MISSED, Kind.FAILED, Kind.RECOVERED), Kind.MISSED: (Kind.FAILED, Kind.RECOVERED)}
_MOST = 5


@dataclass(frozen=True)
class Letter:
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
    def mail(self) -> Mail:
        """The mail without its addresses."""
        return Mail(self.subject, self.body, self.html)

    @property
    def thread(self) -> str:
        """A name that all mails about the run share."""
        return f"run.{sha256(f'{self.dag_id}/{self.run_id}'.encode()).hexdigest()[:32]}"

    @property
    def message_id(self) -> str:
        """A name that no other mail has, and that stays when it is sent again."""
        return f"{self.kind}.{self.thread}"


@dataclass(frozen=True)
class Told:
    """A mail about a run.

    Parameters
    ----------
    kind
        Which mail.
    promised_by
        What it said of the promise.
    sent_at
        When it was sent; None if it has not been yet.
    """

    kind: str
    promised_by: datetime | None
    sent_at: datetime | None


def claim(warehouse: Warehouse, news: News, mail: Mail) -> Letter | None:
    """Return the mail as one that the caller must send now; None if the run has had it, or needs it no more.

    Mails of the run that could not be sent yet are withdrawn: the newest says it all.
    """
    values = {
        "dag_id": news.dag_id,
        "run_id": news.run_id,
        "kind": news.kind.value,
        "promised_by": news.promised_by,
        "final": [kind.value for kind in _FINAL.get(news.kind, ())],
        "subject": mail.subject,
        "body": mail.text,
        "html": mail.html,
    }
    with warehouse.transaction(), warehouse.cursor(row_factory=class_row(Letter)) as cursor:
        letter = cursor.execute(statement("alerts/outbox", "claim"), values).fetchone()
        if letter:
            cursor.execute(statement("alerts/outbox", "withdraw"), {**values, "promise_id": letter.promise_id})
    return letter


def retake(warehouse: Warehouse, *, besides: Collection[int] = ()) -> list[Letter]:
    """Return mails that could not be sent before, as ones that the caller must send now; the oldest first."""
    values = {"lease": LEASE, "stale": STALE, "besides": list(besides), "limit": _MOST}
    with warehouse.cursor(row_factory=class_row(Letter)) as cursor:
        return cursor.execute(statement("alerts/outbox", "retake"), values).fetchall()


def withdraw(warehouse: Warehouse, *, dag_id: str, run_id: str) -> None:
    """Let go of mails about a run that could not be sent yet, and are out of date."""
    run = {"dag_id": dag_id, "run_id": run_id, "promise_id": UNKEPT}
    warehouse.execute(statement("alerts/outbox", "withdraw"), run)


def sent(warehouse: Warehouse, letter: Letter) -> None:
    """Remember that the server took a mail."""
    warehouse.execute(statement("alerts/outbox", "sent"), {"promise_id": letter.promise_id})


def unsent(warehouse: Warehouse, letter: Letter, error: str) -> None:
    """Remember why a mail could not be sent; the next alert tries again."""
    warehouse.execute(statement("alerts/outbox", "unsent"), {"promise_id": letter.promise_id, "error": error})


def told(warehouse: Warehouse, *, dag_id: str, run_id: str) -> dict[Kind, Told]:
    """Return what was told of a run, or was to be."""
    with warehouse.cursor(row_factory=class_row(Told)) as cursor:
        rows = cursor.execute(statement("alerts/outbox", "told"), {"dag_id": dag_id, "run_id": run_id}).fetchall()
    return {Kind(row.kind): row for row in rows}
