"""Preview: renders a notice for one user and checks eligibility, as `send` does; writes and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from etl.db.connection import Connection
from etl.db.statements import path_of
from etl.declare.channel import Channel
from etl.declare.fault import project_path
from etl.declare.notice import Category, Notice
from etl.errors import PermanentError
from etl.notify.channels.channel import Message, SendOutcome, SendResult
from etl.notify.delivery import PageDelivery
from etl.notify.estimate import find_or_draft_run
from etl.notify.store import recipients
from etl.notify.store.deliveries import ClaimedDelivery
from etl.notify.store.eligibility import Eligibility, check_recipient
from etl.notify.store.recipients import Recipient, User
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.timing.schedule import Schedule
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings


class NotInAudience(PermanentError):
    """A user is not a recipient of a run."""

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
        The channel.
    eligibility
        Whether it would be sent now, and its delivery in the ledger, if any.
    message
        The message; None if there is no address, the address is malformed or a template fails.
    category
        Category of the notice.
    error
        Why there is no message although there is an address; empty otherwise.
    waiting_reason
        Why it would only be sent later; empty if it would be sent now.
    """

    channel: Channel
    eligibility: Eligibility
    message: Message | None = field(repr=False)
    category: Category
    error: str = ""
    waiting_reason: str = ""

    @property
    def blocking_reason(self) -> str:
        """Why it would not be sent, or not now; empty if it would."""
        return _blocking_reason(self.eligibility, self.category) or self.error or self.waiting_reason


@dataclass(frozen=True)
class Preview:
    """The messages of a notice to one user.

    Parameters
    ----------
    run
        A planned run, or a draft.
    recipient
        The user, with the values for the templates.
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
    """Return the messages that a notice would send to a user.

    Raises
    ------
    NotInAudience
        If the user is not a recipient; the message gives the reason as far as it is known.
    TemplateBroken
        If a template cannot be compiled.
    """
    templates = templates or Templates(notice)
    links = links or UnsubscribeLinks(LinkSettings.from_environment())
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    positions = recipients.find_positions(db, notice, run, user_id)
    if not positions:
        raise NotInAudience(run, user_id, recipients.find_user(db, user_id))
    newest = positions[0]
    (recipient,) = recipients.read_page(db, notice, run, after=newest - 1, stop=newest + 1, limit=1)
    eligibilities = check_recipient(db, notice, run, recipient)
    return Preview(
        run,
        recipient,
        len(positions) - 1,
        _preview_messages(notice, run, recipient, eligibilities, templates=templates, links=links),
    )


def build_sample_previews(
    notice: Notice,
    period: str,
    size: int,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
    templates: Templates | None = None,
    links: UnsubscribeLinks | None = None,
) -> list[Preview]:
    """Return the messages to recipients from all over the audience, at most `size`, and one more for each locale.

    Raises
    ------
    TemplateBroken
        If a template cannot be compiled.
    """
    templates = templates or Templates(notice)
    links = links or UnsubscribeLinks(LinkSettings.from_environment())
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    previews = []
    for position in recipients.sample_positions(db, run, size=size):
        for recipient in recipients.read_page(db, notice, run, after=position - 1, stop=position + 1, limit=1):
            eligibilities = check_recipient(db, notice, run, recipient)
            messages = _preview_messages(notice, run, recipient, eligibilities, templates=templates, links=links)
            previews.append(Preview(run, recipient, 0, messages))
    return previews


class _RecordingSender:
    """A sender that stores messages instead of sending them."""

    host = "nowhere"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        self.messages += messages
        return [SendResult(message.delivery_id, SendOutcome.SENT) for message in messages]


class _UnlimitedThrottle:
    """A throttle that never waits."""

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
    """Deliver the messages as `send` does, but to recording senders; also those that are held back, to show them."""
    claimed = [
        ClaimedDelivery(eligibility.delivery_id or -index, recipient, eligibility.channel, eligibility.address)
        for index, eligibility in enumerate(eligibilities)
        if eligibility.address is not None
    ]
    senders = {channel.name: _RecordingSender() for channel in notice.channels}
    is_expired = run.expires_at is not None and run.expires_at <= datetime.now(UTC)
    renderable_run = replace(run, expires_at=None) if is_expired else run
    delivery = PageDelivery(
        notice,
        renderable_run,
        claimed,
        templates=templates,
        throttle=_UnlimitedThrottle(),
        senders=senders,
        links=links,
    )
    asyncio.run(delivery.send())
    channel_names = {message.delivery_id: message.channel for message in claimed}
    errors = {
        channel_names[update.delivery_id]: f"{update.error_class}: {update.error}"
        for update in delivery.updates
        if update.error_class
    }
    return [
        MessagePreview(
            channel,
            eligibility,
            next(iter(senders[channel.name].messages), None),
            notice.category,
            errors.get(channel.name, ""),
            _waiting_reason(notice, run, recipient),
        )
        for channel, eligibility in zip(notice.channels, eligibilities, strict=True)
    ]


def _waiting_reason(notice: Notice, run: NoticeRun, recipient: Recipient) -> str:
    opening = Schedule(notice, is_urgent=run.is_announced).not_before(recipient.time_zone, datetime.now(UTC))
    if opening is None:
        return ""
    expired = " and it expires before" if run.expires_at is not None and opening >= run.expires_at else ""
    return f"the recipient's send window opens at {opening:%Y-%m-%d %H:%M} UTC{expired}"


def _blocking_reason(eligibility: Eligibility, category: Category) -> str:
    if eligibility.delivery_state is not None and eligibility.delivery_state != "deferred":
        error_class = f" ({eligibility.delivery_error_class})" if eligibility.delivery_error_class else ""
        return (
            f"run {eligibility.run_id} has already processed it: {eligibility.delivery_state}{error_class} since "
            f"{eligibility.delivery_state_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if eligibility.error_class == "user_deleted":
        return "the user was deleted"
    if eligibility.address is None:
        return f"the user has no address for {eligibility.channel}, or none that is still valid"
    return {
        "no_consent": "no consent",
        "capped": _describe_cap(category),
        "suppressed_address": "the address is suppressed",
    }.get(eligibility.error_class or "", "the run has expired" if eligibility.state == "expired" else "")


def _describe_cap(category: Category) -> str:
    if category.cap is None:
        return ""
    messages = f"{category.cap.count} message{'' if category.cap.count == 1 else 's'}"
    return f"the user got {messages} of the category {category.name} in the last {_describe_span(category.cap.per)}"


def _describe_span(span: timedelta) -> str:
    days, rest = divmod(span, timedelta(days=1))
    return f"{span}" if rest else f"{days} days"


def _absence_reason(run: NoticeRun, user: User | None) -> str:
    """Return why a user is not a recipient, as far as that can be known without evaluating the notice's SQL."""
    if user is None:
        return "there is no user of this id in core.users"
    if user.created_at >= run.as_of:
        return f"they were added at {user.created_at:%Y-%m-%d %H:%M:%S} UTC, after the audience was frozen"
    states = ", ".join(f"{count} {state}" for state, count in sorted(user.provider_accounts.items()))
    return (
        f"`recipients` in {project_path(path_of(run.statement_file))} does not select them; they were added on "
        f"{user.created_at:%Y-%m-%d}, and their provider accounts are: {states or 'none'}"
    )
