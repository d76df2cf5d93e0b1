"""Plan a notice: freeze its run, and cut its audience into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.declare.notice import Notice
from etl.stores import audience, notice_runs
from etl.stores.notice_runs import NoticeRun
from etl.stores.warehouse import Warehouse
from etl.templates import Templates

log = logging.getLogger(__name__)

_SAMPLED_CHUNKS = 8
_SAMPLED_RECIPIENTS = 4
"""In each of these chunks."""


@dataclass(frozen=True)
class Planned:
    """What is to be sent.

    Parameters
    ----------
    run_id
        The run.
    ordinals
        Its chunks that are still to be sent; empty if there is nothing to do.
    """

    run_id: int
    ordinals: list[int]


def plan_notice(
    notice: Notice,
    period: str,
    *,
    trigger: str,
    as_of: datetime,
    warehouse: Warehouse,
    templates: Templates | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Planned:
    """Add the run of a period, or find it if the same trigger added it before.

    The audience never leaves the database. Some recipients of the whole range are rendered first, so that a template
    that cannot work stops here, where nobody has got anything.

    Parameters
    ----------
    notice
        What is sent.
    period
        For which period; nobody gets the notice twice for one.
    trigger
        Which run of the Dag, or which call, asks.
    as_of
        The audience is who was there then; a notice that expires does so counted from here.
    templates
        What it says; None for those of its folder.
    parameters
        More values for the statements and templates of the notice, or others than it declares.

    Raises
    ------
    TemplateBroken
        If a template cannot be rendered for the sample; nothing is planned then.
    RecipientsIncomplete
        If the statement that reads recipients lacks a column.
    """
    words = templates or Templates(notice)
    with warehouse.transaction():
        run = notice_runs.add(
            warehouse,
            notice,
            period,
            trigger=trigger,
            as_of=as_of,
            parameters={**notice.parameters, **(parameters or {})},
        )
        if run is not None:
            chunks = notice_runs.cut(warehouse, notice, run)
            _render_sample(notice, run, chunks, words, warehouse)
    if run is None:
        return _found(notice, period, trigger, warehouse)
    if not chunks:
        log.warning("%s %s: nobody is to be told; run %d is done", notice.name, period, run.run_id)
    else:
        log.info(
            "%s %s: run %d of %d recipients in %d chunks",
            notice.name,
            period,
            run.run_id,
            sum(chunks.values()),
            len(chunks),
        )
    return Planned(run.run_id, sorted(chunks))


def _found(notice: Notice, period: str, trigger: str, warehouse: Warehouse) -> Planned:
    """Return what is left of a run that was planned before."""
    run = notice_runs.of_period(warehouse, notice, period)
    if run is None:
        raise RuntimeError(f"{notice.name}: the run of {period} is gone")
    if run.trigger != trigger:
        log.warning(
            "%s: %s was planned already, by %s as run %d, so there is nothing to do; clear the tasks of that one "
            "that failed, if it did not end",
            notice.name,
            period,
            run.trigger,
            run.run_id,
        )
        return Planned(run.run_id, [])
    return Planned(run.run_id, notice_runs.unfinished(warehouse, run.run_id))


def _render_sample(
    notice: Notice, run: NoticeRun, chunks: Mapping[int, int], words: Templates, warehouse: Warehouse
) -> None:
    every = max(1, len(chunks) // _SAMPLED_CHUNKS)
    for ordinal in sorted(chunks)[::every]:
        chunk = notice_runs.chunk(warehouse, run.run_id, ordinal)
        recipients = audience.read(
            warehouse, notice, run, after=chunk.position, stop=chunk.stop, limit=_SAMPLED_RECIPIENTS
        )
        for recipient in recipients:
            for medium in notice.channels:
                words.render(medium, recipient.values)
