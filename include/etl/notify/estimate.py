"""Forecast of a notice: what a run would do now; nothing is written."""

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
from etl.notify.store import eligibility, runs
from etl.notify.store import recipients as audience
from etl.notify.store.runs import NoticeRun, RunState

UNPLANNED_RUN_ID = 0
"""The id of a run that was not planned."""

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_PAGE_PARAMETERS = {"after", "stop", "limit"}


class ParametersMissing(PermanentError):
    """The statements of a notice name more than every run has."""

    def __init__(self, notice: str, missing: list[str]) -> None:
        example = ", ".join(f'"{name}": …' for name in missing)
        super().__init__(
            f"{notice}: its statements need {', '.join(missing)}, which a run gets from whoever starts it; "
            f"give --parameters '{{{example}}}'."
        )


class AnnouncementMissing(PermanentError):
    """Nothing has been announced by a key, so that nobody knows to whom it would be."""

    def __init__(self, notice: str, key: str) -> None:
        super().__init__(f"{notice}: nothing was announced under {key!r}; `python -m etl notify status` lists runs.")


def find_or_draft_run(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
) -> NoticeRun:
    """Return the run of a period: frozen if it was planned; else as it would be at `as_of`, and `UNPLANNED_RUN_ID`.

    Parameters
    ----------
    parameters
        More values for the statements of the notice, in place of those that the run has.

    Raises
    ------
    NeverAnnounced
        If the period is that of an announcement which nobody made.
    ParametersMissing
        If the statements name what neither the run nor the caller gives.
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
        is_announced=planned.is_announced if planned else False,
    )
    texts = [statement(run.statement_file, name).as_string(None) for name in REQUIRED_STATEMENTS]
    named = {name for text in texts for name in _PLACEHOLDER.findall(text)}
    if missing := sorted(named - _PAGE_PARAMETERS - run.sql_parameters.keys()):
        raise ParametersMissing(notice.name, missing)
    return run


@dataclass(frozen=True)
class RunEstimate:
    """What a run would do.

    Parameters
    ----------
    run
        Planned already, or as it would be.
    recipients, chunks
        How many.
    smallest_chunk, largest_chunk
        Recipients of a chunk.
    dispositions
        Channel → `to_send`, `unreachable`, `repeated` or why it is held back → messages.
    min_duration
        How long its messages take at the pace, if nothing holds them up.
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
        """How many would be sent, over all channels."""
        return sum(found.get("to_send", 0) for found in self.dispositions.values())


def estimate_run(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    db: Connection,
    parameters: Mapping[str, object] | None = None,
) -> RunEstimate:
    """Return what a run of a period would do; it is judged for each recipient, as `send` would now.

    Raises
    ------
    ParametersMissing
        If the statements name what neither the run nor the caller gives.
    """
    run = find_or_draft_run(notice, period, as_of=as_of, db=db, parameters=parameters)
    recipients = audience.count(db, run)
    chunks = min(ceil(recipients / notice.chunk_size), notice.max_chunks)
    verdicts = eligibility.count_audience(db, notice, run)
    sent = {medium: verdicts[medium.name].get("to_send", 0) for medium in notice.channels}
    pace = run.pace or notice.pace
    seconds = max(sum(sent.values()) / pace, *(count / medium.pace for medium, count in sent.items()))
    return RunEstimate(
        run,
        recipients,
        chunks,
        recipients // chunks if chunks else 0,
        ceil(recipients / chunks) if chunks else 0,
        verdicts,
        timedelta(seconds=seconds),
    )
