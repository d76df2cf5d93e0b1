"""Preview: what a notice would say to one user, rendered and judged as `send` does it; nothing is written or sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from etl.db.connection import Warehouse
from etl.declare.channel import Medium
from etl.declare.notice import Notice
from etl.errors import PermanentError
from etl.notify.channels.channel import Message, Outcome, Result
from etl.notify.delivery import HandOver
from etl.notify.estimate import prospect
from etl.notify.store import eligibility, recipients
from etl.notify.store.deliveries import Claimed
from etl.notify.store.eligibility import Judgement
from etl.notify.store.recipients import Recipient, User
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import Links
from etl.settings import LinkSettings


class NotInAudience(PermanentError):
    """A user is no recipient of a run."""

    def __init__(self, run: NoticeRun, user_id: int, known: User | None) -> None:
        super().__init__(f"{run.notice} {run.period}: user {user_id} is not in its audience: {_reason(run, known)}.")


@dataclass(frozen=True)
class Shown:
    """A message to one user over one channel.

    Parameters
    ----------
    medium
        The kind of channel.
    judgement
        What would come of it now, and what came of it already.
    message
        What would be handed over; None if there is no address, or it cannot be written.
    broken
        Why it cannot be written; empty if it can.
    """

    medium: Medium
    judgement: Judgement
    message: Message | None = field(repr=False)
    broken: str = ""

    @property
    def obstacle(self) -> str:
        """Why it would not be sent; empty if it would."""
        return _obstacle(self.judgement) or self.broken


@dataclass(frozen=True)
class Preview:
    """What a notice would say to one user.

    Parameters
    ----------
    run
        Planned, or as it would be.
    recipient
        Whom it tells, and of what.
    others
        How many more messages of this run the user would get over each channel; the newest is shown.
    shown
        One for each channel of the notice.
    """

    run: NoticeRun
    recipient: Recipient
    others: int
    shown: list[Shown]


def preview(
    notice: Notice,
    period: str,
    user_id: int,
    *,
    as_of: datetime,
    warehouse: Warehouse,
    parameters: Mapping[str, object] | None = None,
    templates: Templates | None = None,
    links: Links | None = None,
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
    ways_out = links or Links(LinkSettings.from_environment())
    run = prospect(notice, period, as_of=as_of, warehouse=warehouse, parameters=parameters)
    positions = recipients.positions(warehouse, notice, run, user_id)
    if not positions:
        raise NotInAudience(run, user_id, recipients.user(warehouse, user_id))
    newest = positions[0]
    (recipient,) = recipients.read(warehouse, notice, run, after=newest - 1, stop=newest + 1, limit=1)
    judged = eligibility.of_user(warehouse, notice, run, recipient)
    return Preview(
        run, recipient, len(positions) - 1, _shown(notice, run, recipient, judged, words=words, links=ways_out)
    )


class _Desk:
    """A channel that keeps what it is handed, and sends nothing."""

    host = "nowhere"

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, messages: Sequence[Message]) -> list[Result]:
        self.messages += messages
        return [Result(message.delivery_id, Outcome.SENT) for message in messages]


class _AtOnce:
    """A pace without an end."""

    async def take(self, _: Medium, __: str, wanted: int) -> int:
        return wanted


def _shown(
    notice: Notice,
    run: NoticeRun,
    recipient: Recipient,
    judged: Sequence[Judgement],
    *,
    words: Templates,
    links: Links,
) -> list[Shown]:
    """Hand the messages over as `send` does, to a desk; those that are held back too, so that they can be seen."""
    claimed = [
        Claimed(one.delivery_id or -at, recipient, one.channel, one.address)
        for at, one in enumerate(judged)
        if one.address is not None
    ]
    desks = {medium.name: _Desk() for medium in notice.channels}
    late = run.expires_at is not None and run.expires_at <= datetime.now(UTC)
    kept = replace(run, expires_at=None) if late else run
    hand_over = HandOver(notice, kept, claimed, words=words, steering=_AtOnce(), carriers=desks, links=links)
    asyncio.run(hand_over.all())
    channels = {one.delivery_id: one.channel for one in claimed}
    broken = {
        channels[one.delivery_id]: f"{one.error_class}: {one.error}" for one in hand_over.endings if one.error_class
    }
    return [
        Shown(medium, one, next(iter(desks[medium.name].messages), None), broken.get(medium.name, ""))
        for medium, one in zip(notice.channels, judged, strict=True)
    ]


def _obstacle(found: Judgement) -> str:
    if found.told is not None and found.told != "reopened":
        why = f" ({found.told_class})" if found.told_class else ""
        return f"run {found.run_id} has it as {found.told}{why} since {found.told_at:%Y-%m-%d %H:%M:%S} UTC"
    if found.error_class == "user_deleted":
        return "the user was deleted"
    if found.address is None:
        return f"the user has no address for {found.channel}, or none that is still in use"
    return {
        "no_consent": "no consent",
        "suppressed_address": "the address is suppressed",
    }.get(found.error_class or "", "the run has expired" if found.state == "expired" else "")


def _reason(run: NoticeRun, known: User | None) -> str:
    """Return why somebody is no recipient, as far as that can be known from outside the statement that says so."""
    if known is None:
        return "there is no user of this id in core.users"
    if known.created_at >= run.as_of:
        return f"they were added at {known.created_at:%Y-%m-%d %H:%M:%S} UTC, after it was frozen"
    states = ", ".join(f"{count} {state}" for state, count in sorted(known.provider_accounts.items()))
    return (
        f"`recipients` in include/sql/notices/{run.notice}.sql leaves them out; they were added on "
        f"{known.created_at:%Y-%m-%d}, and of their logins at banks there are {states or 'none'}"
    )
