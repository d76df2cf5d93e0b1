"""The channels of a notice are sent at the same time, and fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from etl.catalog.channels import EMAIL, PUSH
from etl.errors import ChannelRefused
from etl.notify.channels.channel import Message, SendResult
from etl.notify.send import DeliveriesDeferred, send
from etl.notify.templates import Templates
from tests.integration.notify.bank_data import add_contact
from tests.integration.notify.notice_harness import FAST, Mailbox, NoticeHarness
from tests.integration.notify.retried_runs import hurry

Rows = Callable[..., list[tuple[object, ...]]]
REFUSED = ChannelRefused("push", "fcm.example", "its key was revoked")

pytestmark = pytest.mark.usefixtures("long_backoff")


class Slow(Mailbox):
    """A channel that takes its time for each batch, and records when it was used."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self.log = log

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        self.log.append("push begins")
        await asyncio.sleep(0.05)
        self.log.append("push ends")
        return await super().send(messages)


class Refused(Mailbox):
    """A channel that cannot be opened."""

    async def __aenter__(self) -> Mailbox:
        raise REFUSED


class Broken(Mailbox):
    """A channel with an error."""

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        raise ConnectionResetError


@pytest.fixture
def send_over_both(post: NoticeHarness, tmp_path: Path) -> Callable[[Mailbox, Mailbox], None]:
    """Return a function that sends a run of two users, who have a mail address and a phone."""
    for user in post.enrol(2):
        add_contact(post.db, user, "push", f"phone of {user}")
    post.notice = replace(FAST, channels=(PUSH, EMAIL))
    folder = tmp_path / post.notice.name
    folder.mkdir()
    for name in post.notice.template_names:
        (folder / name).write_text("text")
    templates = Templates(post.notice, tmp_path)
    planned = post.plan(templates=templates)

    def send_over(push: Mailbox, email: Mailbox) -> None:
        send(
            post.notice,
            planned.run_id,
            0,
            db=post.db,
            limiter=post.limiter,
            senders={"push": push, "email": email},
            templates=templates,
        )

    return send_over


SendOverBoth = Callable[[Mailbox, Mailbox], None]


def states_by_channel(rows: Rows) -> list[tuple[object, ...]]:
    return rows("select channel::text, state::text, count(*) from notify.deliveries group by 1, 2 order by 1, 2")


def test_slow_channel_does_not_delay_the_others(post: NoticeHarness, send_over_both: SendOverBoth) -> None:
    log: list[str] = []
    post.mailbox.after = lambda _: log.append("mails sent")
    send_over_both(Slow(log), post.mailbox)
    assert log == ["push begins", "mails sent", "push ends"]
    assert post.states() == {"sent": 4}


def test_messages_of_a_refused_channel_wait_while_those_of_the_others_are_sent(
    post: NoticeHarness, send_over_both: SendOverBoth, rows: Rows
) -> None:
    with pytest.raises(DeliveriesDeferred):
        send_over_both(Refused(), post.mailbox)
    assert states_by_channel(rows) == [("email", "sent", 2), ("push", "deferred", 2)]
    assert rows("select distinct error_class, error from notify.deliveries where channel = 'push'") == [
        ("ChannelRefused", str(REFUSED))
    ]
    hurry(post, 1)
    send_over_both(phones := Mailbox(), post.mailbox)
    assert states_by_channel(rows) == [("email", "sent", 2), ("push", "sent", 2)]
    assert (len(phones.arrived), len(post.mailbox.arrived)) == (2, 2)


def test_nothing_is_claimed_if_all_channels_are_refused(post: NoticeHarness, send_over_both: SendOverBoth) -> None:
    with pytest.raises(ChannelRefused, match="its key was revoked"):
        send_over_both(Refused(), Refused())
    assert post.states() == {}


def test_error_of_a_channel_leaves_only_its_own_messages_in_doubt(
    post: NoticeHarness, send_over_both: SendOverBoth, rows: Rows
) -> None:
    slow_mails = Slow([])
    with pytest.raises(ConnectionResetError):
        send_over_both(Broken(), slow_mails)
    assert states_by_channel(rows) == [("email", "sent", 2), ("push", "claimed", 2)]
    send_over_both(Mailbox(), slow_mails)
    assert len(slow_mails.arrived) == 2
