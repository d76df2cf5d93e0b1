"""Estimate of what a run of a notice would do now: recipients, chunks, messages and duration. Writes nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.notice import ANNOUNCEMENT_PREFIX, REQUIRED_STATEMENTS, Notice
from etl.declare.timing.zones import find_zone
from etl.errors import PermanentError
from etl.notify.audience.check import check_pages
from etl.notify.store import approvals, eligibility, recipients, runs
from etl.notify.store.deliveries import DeferralReason
from etl.notify.store.eligibility import AudienceCount
from etl.notify.store.runs import NoticeRun, RunState
from etl.notify.timing.schedule import Schedule
from etl.notify.timing.spreading import spread_pace

UNPLANNED_RUN_ID = 0
"""The id of a draft run."""

_QUIET_HOURS = DeferralReason.QUIET_HOURS.value
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_PAGE_PARAMETERS = {"after", "stop", "limit"}


class ParametersMissing(PermanentError):
    """The statements of a notice use parameters that neither the notice nor the caller gives."""

    def __init__(self, notice: str, missing: list[str]) -> None:
        example = ", ".join(f'"{name}": …' for name in missing)
        super().__init__(
            f"{notice}: its statements need {', '.join(missing)}, which the caller that starts a run must give; "
            f"give --parameters '{{{example}}}'."
        )


class AnnouncementMissing(PermanentError):
    """Nothing was announced under a key, so that its recipients are unknown."""

    def __init__(self, notice: str, key: str) -> None:
        super().__init__(f"{notice}: nothing was announced under {key!r}; `sluice notify status` lists runs.")


@dataclass(frozen=True)
class RunEstimate:
    """What a run would do.

    Parameters
    ----------
    run
        A planned run, or a draft.
    recipients, chunks
        Number of recipients, and of chunks.
    smallest_chunk, largest_chunk
        Recipients of a chunk.
    dispositions
        Channel → disposition → messages. A disposition is `to_send`, `quiet_hours` (to be sent later, in the send
        window of the recipient), `expires_in_quiet_hours`, `unreachable`, `repeated`, or the reason why a message is
        held back.
    min_duration
        Time that the messages take at the pace, without retries or waits.
    waits_until
        When the send window of the last recipients opens; None if nobody's is closed.
    unknown_zones
        Messages to users whose time zone is unknown, so that the notice's is used.
    needs_approval
        Whether a person must approve it before it is sent.
    """

    run: NoticeRun
    recipients: int
    chunks: int
    smallest_chunk: int
    largest_chunk: int
    dispositions: Mapping[str, Mapping[str, int]]
    min_duration: timedelta
    waits_until: datetime | None = None
    unknown_zones: int = 0
    needs_approval: bool = False

    @property
    def messages(self) -> int:
        """Number of messages that would be sent, over all channels."""
        return sum(map(_count_messages, self.dispositions.values()))


def find_or_draft_run(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
) -> NoticeRun:
    """Return the planned run of a period, or a draft as of `as_of` with the id `UNPLANNED_RUN_ID` if there is none.

    Parameters
    ----------
    parameters
        Values for the statements of the notice, in addition to those of the run or in place of them.

    Raises
    ------
    AnnouncementMissing
        If the period is that of an announcement that was never made.
    ParametersMissing
        If the statements use parameters that neither the run nor the caller gives.
    """
    planned = runs.find_by_period(db, notice, period)
    if planned is None and period.startswith(ANNOUNCEMENT_PREFIX):
        raise AnnouncementMissing(notice.name, period.removeprefix(ANNOUNCEMENT_PREFIX))
    run = NoticeRun(
        run_id=planned.run_id if planned else UNPLANNED_RUN_ID,
        notice_id=planned.notice_id if planned else 0,
        notice=notice.name,
        period=period,
        trigger=planned.trigger if planned else "",
        as_of=planned.as_of if planned else as_of,
        expires_at=planned.expires_at if planned else as_of + notice.expiry if notice.expiry else None,
        parameters={**(planned.parameters if planned else notice.parameters), **(parameters or {})},
        pace=planned.pace if planned else notice.pace,
        state=planned.state if planned else RunState.RUNNING.value,
        planned_at=planned.planned_at if planned else as_of,
        is_announced=planned.is_announced if planned else False,
    )
    texts = [statement(run.statement_file, name).as_string(None) for name in REQUIRED_STATEMENTS]
    placeholders = {name for text in texts for name in _PLACEHOLDER.findall(text)}
    if missing := sorted(placeholders - _PAGE_PARAMETERS - run.sql_parameters.keys()):
        raise ParametersMissing(notice.name, missing)
    return run


def estimate_run(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
) -> RunEstimate:
    """Return what a run of a period would do; eligibility is checked for each recipient, as `send` does.

    Raises
    ------
    ParametersMissing
        If the statements use parameters that neither the run nor the caller gives.
    AudienceInvalid
        If a statement fails, or returns what would lose or repeat recipients.
    """
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    recipient_count = recipients.count(db, run)
    check_pages(notice, run, recipients.MIN_POSITION + 1, recipients.MAX_POSITION, db=db)
    if run.run_id == UNPLANNED_RUN_ID:
        run = replace(run, pace=spread_pace(notice, recipient_count))
    chunk_count = min(ceil(recipient_count / notice.chunk_size), notice.max_chunks)
    counts = eligibility.count_audience(db, notice, run)
    schedule, now = Schedule(notice, is_urgent=run.is_announced), max(as_of, run.as_of)
    dispositions: dict[str, Counter[str]] = {channel.name: Counter() for channel in notice.channels}
    openings = {count.time_zone: schedule.not_before(count.time_zone, now) for count in counts}
    for count in counts:
        opening = openings[count.time_zone] if count.disposition == "to_send" else None
        dispositions[count.channel][_disposition(run, count, opening)] += count.messages
    to_send = {channel: _count_messages(dispositions[channel.name]) for channel in notice.channels}
    pace = run.pace or notice.pace
    seconds = max(sum(to_send.values()) / pace, *(count / channel.pace for channel, count in to_send.items()))
    waits = [
        opening
        for count in counts
        if (opening := openings[count.time_zone]) and _disposition(run, count, opening) == _QUIET_HOURS
    ]
    return RunEstimate(
        run,
        recipient_count,
        chunk_count,
        recipient_count // chunk_count if chunk_count else 0,
        ceil(recipient_count / chunk_count) if chunk_count else 0,
        dispositions,
        timedelta(seconds=seconds),
        max(waits, default=None),
        sum(count.messages for count in counts if count.time_zone and find_zone(count.time_zone) is None),
        approvals.is_awaited(run) if run.run_id else notice.needs_approval(recipient_count),
    )


def _disposition(run: NoticeRun, count: AudienceCount, opening: datetime | None) -> str:
    """Return the disposition of messages, some of which wait until `opening`."""
    if count.disposition != "to_send" or opening is None:
        return count.disposition
    is_too_late = run.expires_at is not None and opening >= run.expires_at
    return "expires_in_quiet_hours" if is_too_late else _QUIET_HOURS


def _count_messages(dispositions: Mapping[str, int]) -> int:
    """Return how many messages will be sent."""
    return dispositions.get("to_send", 0) + dispositions.get(_QUIET_HOURS, 0)
