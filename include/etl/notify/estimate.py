"""Estimate of what a run of a notice would do now: recipients, chunks, messages and duration. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from etl.db.connection import Connection
from etl.db.statements import statement
from etl.declare.notice import ANNOUNCEMENT_PREFIX, REQUIRED_STATEMENTS, Notice
from etl.errors import PermanentError
from etl.notify.store import eligibility, recipients, runs
from etl.notify.store.runs import NoticeRun, RunState

UNPLANNED_RUN_ID = 0
"""The id of a draft run."""

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
        Channel → disposition → messages. A disposition is `to_send`, `unreachable`, `repeated`, or the reason why a
        message is held back.
    min_duration
        Time that the messages take at the pace, without retries or waits.
    """

    run: NoticeRun
    recipients: int
    chunks: int
    smallest_chunk: int
    largest_chunk: int
    dispositions: Mapping[str, Mapping[str, int]]
    min_duration: timedelta

    @property
    def messages(self) -> int:
        """Number of messages that would be sent, over all channels."""
        return sum(counts.get("to_send", 0) for counts in self.dispositions.values())


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
    """
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    recipient_count = recipients.count(db, run)
    chunk_count = min(ceil(recipient_count / notice.chunk_size), notice.max_chunks)
    dispositions = eligibility.count_audience(db, notice, run)
    to_send = {channel: dispositions[channel.name].get("to_send", 0) for channel in notice.channels}
    pace = run.pace or notice.pace
    seconds = max(sum(to_send.values()) / pace, *(count / channel.pace for channel, count in to_send.items()))
    return RunEstimate(
        run,
        recipient_count,
        chunk_count,
        recipient_count // chunk_count if chunk_count else 0,
        ceil(recipient_count / chunk_count) if chunk_count else 0,
        dispositions,
        timedelta(seconds=seconds),
    )
