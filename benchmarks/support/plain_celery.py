"""The Celery app of the comparison: one task per user, and tasks of a thousand ids that publish the next one.

It is written as by hand, and without needless cost: each process has one connection to Postgres and one to the mail
server, compiles the templates once, and builds mails as Sluice does. As with Sluice, no message is lost or repeated
unnoticed, since a row is inserted into the same ledger before each mail.
"""

from __future__ import annotations

import os
import smtplib
from datetime import UTC, datetime
from functools import cache

from celery import Celery
from celery.signals import worker_ready
from psycopg.conninfo import make_conninfo

from benchmarks.support.audience import MONTH
from etl.catalog.channels import EMAIL
from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients.mime import MimeBuilder
from etl.db.connection import connect_url
from etl.db.statements import StatementFile
from etl.mail_address import parse_address
from etl.notify.channels.channel import Message
from etl.notify.channels.email import build_mail
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import Endpoint, LinkSettings

BROKER_VARIABLE = "BROKER_URL"
"""Celery's own commands read this variable too, and prefer it to the app's setting."""
NOTICE_NAME = "plain_celery"
"""Name of the notice in the ledger. Sluice sends another one, so that neither finds the other's deliveries."""
CHUNK_SIZE = 1_000
RATE_LIMIT = "200/s"
READY_LINE = "The worker is ready."

_NOTICE = """
insert into notify.notices as target (name) values (%s) on conflict (name) do update set name = excluded.name
returning target.notice_id
"""
_CLAIM = """
insert into notify.deliveries (user_id, run_id, channel, state, notice_id, ordinal, attempt, dedupe_key, ended_at)
select
    u.user_id,
    0,
    'email',
    case when k.granted = false or s.address is not null then 'suppressed' else 'claimed' end::notify.state,
    %(notice_id)s,
    0,
    1,
    %(period)s,
    case when k.granted = false or s.address is not null then now() end
from core.users as u
inner join notify.contacts as c on c.user_id = u.user_id and c.channel = 'email' and c.ended_at is null
left join notify.consents as k on k.user_id = u.user_id and k.category = %(category)s
left join notify.suppressions as s on s.channel = 'email' and s.address = lower(c.address)
where u.user_id = %(user_id)s
on conflict (notice_id, dedupe_key, channel, user_id) do nothing
returning delivery_id, state::text, (
    select c.address from notify.contacts as c where c.user_id = %(user_id)s and c.channel = 'email'
)
"""
_SET_STATE = "update notify.deliveries set state = %s, ended_at = now() where delivery_id = %s"
_NEXT_USERS = "select user_id from core.users where user_id > %s and user_id <= %s order by user_id limit %s"

app = Celery("plain", broker=os.environ.get(BROKER_VARIABLE, "memory://"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


class WorkerResources:
    """The connections and compiled templates of a worker process."""

    def __init__(self) -> None:
        warehouse = Endpoint.from_environment("warehouse")
        self._db = connect_url(
            make_conninfo(
                host=warehouse.host,
                port=warehouse.port,
                user=warehouse.login,
                password=warehouse.password,
                dbname=warehouse.schema,
            )
        )
        ((self._notice_id,),) = self._db.execute(_NOTICE, (NOTICE_NAME,)).fetchall()
        self._templates = Templates(MONTHLY_REPORT)
        self._links = UnsubscribeLinks(LinkSettings.from_environment())
        self._smtp = _connect_mail_server()
        sender = parse_address(str(Endpoint.from_environment("notices_email").extra["from_email"]))
        self._sender = sender.address
        self._mime_builder = MimeBuilder(sender)
        self._select_recipient = StatementFile(f"notices/{MONTHLY_REPORT.name}")["recipients"]

    def send(self, user_id: int) -> None:
        """Claim the delivery to a user, render its mail, send it, and record it as sent."""
        delivery = self._db.execute(_CLAIM, self._values(user_id)).fetchone()
        if delivery is None or delivery[1] != "claimed":
            return
        delivery_id, _, address = delivery
        if not EMAIL.accepts(address):
            self._db.execute(_SET_STATE, ("failed", delivery_id))
            return
        (recipient,) = self._select_recipient.dicts(self._db, self._values(user_id))
        link = self._links.build(user_id, MONTHLY_REPORT.category)
        parts = self._templates.render(EMAIL, recipient, unsubscribe_url=link.url)
        message = Message(delivery_id, address, parts, unsubscribe_url=link.url)
        mail = build_mail(message, self._mime_builder, sent_at=datetime.now(UTC))
        self._smtp.sendmail(self._sender, [mail.recipients[0].address], mail.content)
        self._db.execute(_SET_STATE, ("sent", delivery_id))

    def next_user_ids(self, after: int, last: int) -> list[int]:
        """Return the ids of the next chunk: the first users after `after`, up to `last`."""
        return [user_id for (user_id,) in self._db.execute(_NEXT_USERS, (after, last, CHUNK_SIZE))]

    def _values(self, user_id: int) -> dict[str, object]:
        bounds = {"after": user_id - 1, "stop": user_id + 1, "limit": 1, "as_of": datetime.now(UTC)}
        category = MONTHLY_REPORT.category.name
        return {**bounds, "user_id": user_id, "period": MONTH, "notice_id": self._notice_id, "category": category}


@cache
def worker_resources() -> WorkerResources:
    """Return the resources of this process, which are opened on first use."""
    return WorkerResources()


@app.task  # type: ignore[untyped-decorator]
def send_to_user(user_id: int) -> None:
    """Send to one user; the pattern of one task per user."""
    worker_resources().send(user_id)


@app.task  # type: ignore[untyped-decorator]
def send_chunk(user_ids: list[int], last: int) -> None:
    """Send to the users of a chunk, and publish the next chunk; the pattern of a task that walks a table."""
    for user_id in user_ids:
        worker_resources().send(user_id)
    if next_user_ids := worker_resources().next_user_ids(user_ids[-1], last):
        send_chunk.delay(next_user_ids, last)


@cache
def mail_server() -> smtplib.SMTP:
    """Return this process's connection to the mail server."""
    return _connect_mail_server()


@app.task(rate_limit=RATE_LIMIT)  # type: ignore[untyped-decorator]
def send_paced(delivery_id: int) -> None:
    """Send a constant mail, at the pace of Celery's `rate_limit`."""
    mail = b"Subject: paced\r\nMessage-ID: <delivery.%d@bank.example>\r\n\r\nhello\r\n" % delivery_id
    mail_server().sendmail("reports@bank.example", ["user@bank.example"], mail)


@worker_ready.connect  # type: ignore[untyped-decorator]
def print_ready(**_: object) -> None:
    """Print that the worker is ready; Celery itself prints it only at a log level that logs every task."""
    print(READY_LINE, flush=True)


def _connect_mail_server() -> smtplib.SMTP:
    server = Endpoint.from_environment("notices_email")
    return smtplib.SMTP(server.host, server.port, local_hostname="localhost", timeout=30)
