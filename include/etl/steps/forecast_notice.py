"""Forecast of a notice: what a run would do now; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from etl.declare.notice import Notice
from etl.steps.prospect import prospect
from etl.stores import audience, judgement
from etl.stores.notice_runs import NoticeRun
from etl.stores.warehouse import Warehouse


@dataclass(frozen=True)
class NoticeForecast:
    """What a run would do.

    Parameters
    ----------
    run
        Planned already, or as it would be.
    recipients, chunks
        How many.
    smallest, largest
        Recipients of a chunk.
    verdicts
        Channel → `to_send`, `unreachable`, `repeated` or why it is held back → messages.
    least_time
        How long its messages take at the pace, if nothing holds them up.
    """

    run: NoticeRun
    recipients: int
    chunks: int
    smallest: int
    largest: int
    verdicts: Mapping[str, Mapping[str, int]]
    least_time: timedelta

    @property
    def messages(self) -> int:
        """How many would be sent, over all channels."""
        return sum(found.get("to_send", 0) for found in self.verdicts.values())


def forecast_notice(
    notice: Notice,
    period: str,
    *,
    as_of: datetime,
    warehouse: Warehouse,
    parameters: Mapping[str, object] | None = None,
) -> NoticeForecast:
    """Return what a run of a period would do; it is judged for each recipient, as `send` would now.

    Raises
    ------
    ParametersMissing
        If the statements name what neither the run nor the caller gives.
    """
    run = prospect(notice, period, as_of=as_of, warehouse=warehouse, parameters=parameters)
    recipients = audience.size(warehouse, run)
    chunks = min(ceil(recipients / notice.chunk_size), notice.max_chunks)
    verdicts = judgement.of_audience(warehouse, notice, run)
    sent = {medium: verdicts[medium.name].get("to_send", 0) for medium in notice.channels}
    pace = run.pace or notice.pace
    seconds = max(sum(sent.values()) / pace, *(count / medium.pace for medium, count in sent.items()))
    return NoticeForecast(
        run,
        recipients,
        chunks,
        recipients // chunks if chunks else 0,
        ceil(recipients / chunks) if chunks else 0,
        verdicts,
        timedelta(seconds=seconds),
    )
