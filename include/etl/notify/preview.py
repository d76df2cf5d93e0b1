"""Preview: what a notice would say to one user, rendered and judged as `send` does it; nothing is written or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.delivery import PageDelivery
from etl.notify.estimate import find_or_draft_run
from etl.notify.store import eligibility, recipients
from etl.notify.store.deliveries import ClaimedDelivery
from etl.notify.store.eligibility import Eligibility
from etl.notify.store.recipients import Recipient, User
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings


class NotInAudience(PermanentError):
    """A user is no recipient of a run."""

    def __init__(self, run: NoticeRun, user_id: int, user: User | None) -> None:
        super().__init__(
            f"{run.notice} {run.period}: user {user_id} is not in its audience: {_absence_reason(run, user)}."
        )


@dataclass(frozen=True)
class MessagePreview:
    """A message to one user over one channel.

    Parameters
    ----------
    channel
        The kind of channel.
    eligibility
        What would come of it now, and what came of it already.
    message
        What would be handed over; None if there is no address, or it cannot be written.
    template_error
        Why it cannot be written; empty if it can.
    """

    channel: Channel
    eligibility: Eligibility
    message: Message | None = field(repr=False)
    template_error: str = ""

    @property
    def blocking_reason(self) -> str:
        """Why it would not be sent; empty if it would."""
        return _blocking_reason(self.eligibility) or self.template_error


@dataclass(frozen=True)
class Preview:
    """What a notice would say to one user.

    Parameters
    ----------
    run
        Planned, or as it would be.
    recipient
        Whom it tells, and of what.
    other_count
        How many more messages of this run the user would get over each channel; the newest is shown.
    messages
        One for each channel of the notice.
    """

    run: NoticeRun
    recipient: Recipient
    other_count: int
    messages: list[MessagePreview]


def build_preview(
    notice: Notice,
    period: str,
    user_id: int,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
    templates: Templates | None = None,
    links: UnsubscribeLinks | None = None,
) -> Preview:
    """Return what a notice would say to a user.

    Raises
    ------
    NotInAudience
        If it would say nothing; with what is known of the user.
    TemplateBroken
        If a template cannot be compiled.
    """
    words = templates or Templates(notice)
    ways_out = links or UnsubscribeLinks(LinkSettings.from_environment())
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    positions = recipients.find_positions(db, notice, run, user_id)
    if not positions:
        raise NotInAudience(run, user_id, recipients.find_user(db, user_id))
    newest = positions[0]
    (recipient,) = recipients.read_page(db, notice, run, after=newest - 1, stop=newest + 1, limit=1)
    judged = eligibility.check_recipient(db, notice, run, recipient)
    return Preview(
        run,
        recipient,
        len(positions) - 1,
        _preview_messages(notice, run, recipient, judged, templates=words, links=ways_out),
    )


class _RecordingSender:
    """A channel that keeps what it is handed, and sends nothing."""

    host = "nowhere"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        self.messages += messages
        return [SendResult(message.delivery_id, SendOutcome.SENT) for message in messages]


class _UnlimitedThrottle:
    """A pace without an end."""

    async def acquire(self, _: Channel, __: str, requested: int) -> int:
        return requested


def _preview_messages(
    notice: Notice,
    run: NoticeRun,
    recipient: Recipient,
    eligibilities: Sequence[Eligibility],
    *,
    templates: Templates,
    links: UnsubscribeLinks,
) -> list[MessagePreview]:
    """Hand the messages over as `send` does, to a desk; those that are held back too, so that they can be seen."""
    claimed = [
        ClaimedDelivery(one.delivery_id or -at, recipient, one.channel, one.address)
        for at, one in enumerate(eligibilities)
        if one.address is not None
    ]
    desks = {medium.name: _RecordingSender() for medium in notice.channels}
    late = run.expires_at is not None and run.expires_at <= datetime.now(UTC)
    kept = replace(run, expires_at=None) if late else run
    hand_over = PageDelivery(
        notice, kept, claimed, templates=templates, throttle=_UnlimitedThrottle(), senders=desks, links=links
    )
    asyncio.run(hand_over.send())
    channels = {one.delivery_id: one.channel for one in claimed}
    broken = {
        channels[one.delivery_id]: f"{one.error_class}: {one.error}" for one in hand_over.updates if one.error_class
    }
    return [
        MessagePreview(medium, one, next(iter(desks[medium.name].messages), None), broken.get(medium.name, ""))
        for medium, one in zip(notice.channels, eligibilities, strict=True)
    ]


def _blocking_reason(eligibility: Eligibility) -> str:
    if eligibility.delivery_state is not None and eligibility.delivery_state != "reopened":
        why = f" ({eligibility.delivery_error_class})" if eligibility.delivery_error_class else ""
        return (
            f"run {eligibility.run_id} has it as {eligibility.delivery_state}{why} since "
            f"{eligibility.delivery_state_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if eligibility.error_class == "user_deleted":
        return "the user was deleted"
    if eligibility.address is None:
        return f"the user has no address for {eligibility.channel}, or none that is still in use"
    return {
        "no_consent": "no consent",
        "suppressed_address": "the address is suppressed",
    }.get(eligibility.error_class or "", "the run has expired" if eligibility.state == "expired" else "")


def _absence_reason(run: NoticeRun, user: User | None) -> str:
    """Return why somebody is no recipient, as far as that can be known from outside the statement that says so."""
    if user is None:
        return "there is no user of this id in core.users"
    if user.created_at >= run.as_of:
        return f"they were added at {user.created_at:%Y-%m-%d %H:%M:%S} UTC, after it was frozen"
    states = ", ".join(f"{count} {state}" for state, count in sorted(user.provider_accounts.items()))
    return (
        f"`recipients` in include/sql/notices/{run.notice}.sql leaves them out; they were added on "
        f"{user.created_at:%Y-%m-%d}, and of their logins at banks there are {states or 'none'}"
    )
