"""Harness of the tests of notices: users, a channel that records messages, and the steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import scalar_row

from etl.catalog.notices.monthly_report.notice import MONTHLY_REPORT
from etl.clients.rate_limits import Limiter
from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.plan import PlannedRun, plan_run
from etl.notify.send import send
from etl.notify.store import chunks, recipients, runs
from etl.notify.store.recipients import Recipient
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks

NOW = datetime(2026, 11, 1, 8, tzinfo=UTC)
FAST = replace(MONTHLY_REPORT, pace=1_000, chunk_size=10, expiry=None)


class Mailbox:
    """A channel in memory, which records the messages that it accepts.

    Parameters
    ----------
    answers
        Address → results of its next messages; later messages are accepted.
    before, after
        Called with each batch of messages, before and after it is sent.
    """

    host = "mail.example"

    def __init__(self) -> None:
        self.arrived: list[Message] = []
        self.batch_sizes: list[int] = []
        self.answers: dict[str, list[SendResult | SendOutcome]] = {}
        self.before: Callable[[Sequence[Message]], None] = lambda _: None
        self.after: Callable[[Sequence[Message]], None] = lambda _: None

    async def __aenter__(self) -> Mailbox:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        self.batch_sizes.append(len(messages))
        self.before(messages)
        results = [self._receive(message) for message in messages]
        self.after(messages)
        return results

    def _receive(self, message: Message) -> SendResult:
        answers = self.answers.get(message.address)
        answer = answers.pop(0) if answers else SendOutcome.SENT
        result = replace(answer, delivery_id=message.delivery_id) if isinstance(answer, SendResult) else None
        outcome = result.outcome if result else answer
        assert isinstance(outcome, SendOutcome)
        if outcome is SendOutcome.SENT:
            self.arrived.append(message)
        return result or SendResult(message.delivery_id, outcome, "" if outcome is SendOutcome.SENT else "451", "no")

    @property
    def addresses(self) -> Counter[str]:
        return Counter(message.address for message in self.arrived)


@dataclass
class NoticeHarness:
    """The steps of a notice, over one connection."""

    db: Connection
    limiter: Limiter
    mailbox: Mailbox = field(default_factory=Mailbox)
    notice: Notice = FAST
    links: UnsubscribeLinks | None = None

    def enrol(self, users: int, *, gap: int = 1) -> list[int]:
        """Add users with a bank login and an e-mail address, and return their ids."""
        return enrol(self.db, users, gap=gap)

    def plan(
        self,
        period: str = "2026-10",
        *,
        trigger: str = "scheduled",
        templates: Templates | None = None,
        as_of: datetime | None = None,
        parameters: Mapping[str, object] | None = None,
    ) -> PlannedRun:
        return plan_run(
            self.notice,
            period,
            trigger=trigger,
            as_of=as_of or datetime.now(UTC),
            db=self.db,
            templates=templates,
            parameters=parameters,
            links=self.links,
        )

    def send(self, run_id: int, ordinals: Iterable[int] = (0,)) -> None:
        for ordinal in ordinals:
            send(
                self.notice,
                run_id,
                ordinal,
                db=self.db,
                limiter=self.limiter,
                senders={channel.name: self.mailbox for channel in self.notice.channels},
                links=self.links,
            )

    def send_all(self, **options: Any) -> PlannedRun:
        planned = self.plan(**options)
        self.send(planned.run_id, planned.ordinals)
        return planned

    def read_one_by_one(self, planned: PlannedRun) -> list[Recipient]:
        """Return the recipients of a run, each read as a page of its own."""
        run = self.run(planned.run_id)
        run_recipients: list[Recipient] = []
        for ordinal in planned.ordinals:
            chunk = chunks.find(self.db, run.run_id, ordinal)
            after = chunk.position
            while page := recipients.read_page(self.db, self.notice, run, after=after, stop=chunk.stop, limit=1):
                run_recipients += page
                after = page[-1].position
        return run_recipients

    def read_at_positions(self, planned: PlannedRun, wanted: Sequence[Recipient]) -> list[Recipient]:
        """Return the recipients at the positions of others, in order, as those of deferred deliveries are read."""
        positions = [recipient.position for recipient in reversed(wanted)]
        found = recipients.read_at(self.db, self.notice, self.run(planned.run_id), positions)
        return sorted(found, key=lambda recipient: recipient.position)

    def states(self) -> Counter[str]:
        with self.db.cursor(row_factory=scalar_row) as cursor:
            return Counter(cursor.execute("select state::text from notify.deliveries").fetchall())

    def totals(self, run_id: int) -> dict[str, int]:
        """Return the counters of a run that are not zero."""
        return {name: count for name, count in runs.read_totals(self.db, run_id).items() if count}

    def run(self, run_id: int) -> NoticeRun:
        return runs.find(self.db, run_id)


def enrol(db: Connection, users: int, *, gap: int = 1) -> list[int]:
    with db.transaction(), db.cursor(row_factory=scalar_row) as cursor:
        ids = cursor.execute(
            "insert into core.users (user_id, reference, created_at) overriding system value "
            "select m.most + i * %(gap)s, 'user ' || (m.most + i * %(gap)s), '2026-01-01' "
            "from generate_series(1, %(users)s) as i, (select coalesce(max(user_id), 0) as most from core.users) as m "
            "returning user_id",
            {"users": users, "gap": gap},
        ).fetchall()
        values = {"ids": ids}
        cursor.execute(
            "insert into core.provider_accounts (user_id, provider, item_id, access_token) "
            "select u, 'plaid', 'item ' || u, '' from unnest(%(ids)s::bigint[]) as u",
            values,
        )
        cursor.execute(
            "insert into notify.contacts (user_id, channel, address) "
            "select u, 'email', 'user' || u || '@bank.example' from unnest(%(ids)s::bigint[]) as u",
            values,
        )
    return ids


def address(user_id: int) -> str:
    return f"user{user_id}@bank.example"


def stop_logins(db: Connection, user_id: int) -> None:
    """Stop the provider accounts of a user, who thereby leaves the audience."""
    db.execute("update core.provider_accounts set state = 'suspended' where user_id = %s", (user_id,))
