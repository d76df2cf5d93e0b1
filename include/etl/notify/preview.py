"""Preview: renders a notice for one user and checks eligibility, as `send` does; writes and sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from etl.db.connection import Connection
from etl.db.statements import path_of
from etl.declare.channel import Channel
from etl.declare.fault import project_path
from etl.declare.notice import Notice
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
    error
        Why there is no message although there is an address; empty otherwise.
    """

    channel: Channel
    eligibility: Eligibility
    message: Message | None = field(repr=False)
    error: str = ""

    @property
    def blocking_reason(self) -> str:
        """Why it would not be sent; empty if it would."""
        return _blocking_reason(self.eligibility) or self.error


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
            channel, eligibility, next(iter(senders[channel.name].messages), None), errors.get(channel.name, "")
        )
        for channel, eligibility in zip(notice.channels, eligibilities, strict=True)
    ]


def _blocking_reason(eligibility: Eligibility) -> str:
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
        "suppressed_address": "the address is suppressed",
    }.get(eligibility.error_class or "", "the run has expired" if eligibility.state == "expired" else "")


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
