"""Plan a notice: freeze its run, and cut its audience into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Warehouse
from etl.declare.notice import Consent, Notice
from etl.notify.store import chunks, runs
from etl.notify.store import recipients as audience
from etl.notify.store.announcements import Announcement
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import Links
from etl.settings import LinkSettings

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
    announcement: Announcement | None = None,
    links: Links | None = None,
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
    announcement
        Whom to tell what; None for those whom the statements of the notice find.
    links
        Write how recipients end such messages; None for those that the settings ask for.

    Raises
    ------
    SettingInvalid
        If links could not be written.
    TemplateBroken
        If a template cannot be rendered for the sample; nothing is planned then.
    RecipientsIncomplete
        If the statement that reads recipients lacks a column.
    """
    words = templates or Templates(notice)
    ways_out = links or Links(LinkSettings.from_environment())
    with warehouse.transaction():
        run = runs.add(
            warehouse,
            notice,
            period,
            trigger=trigger,
            as_of=as_of,
            parameters={**notice.parameters, **(parameters or {})},
            announcement=announcement,
        )
        if run is not None:
            recipients = chunks.cut(warehouse, notice, run)
            _render_sample(notice, run, recipients, warehouse, words=words, links=ways_out)
    if run is None:
        return _found(notice, period, trigger, warehouse)
    _warn_of_no_way_out(notice, ways_out)
    if not recipients:
        log.warning("%s %s: nobody is to be told; run %d is done", notice.name, period, run.run_id)
    else:
        log.info(
            "%s %s: run %d of %d recipients in %d chunks",
            notice.name,
            period,
            run.run_id,
            sum(recipients.values()),
            len(recipients),
        )
    return Planned(run.run_id, sorted(recipients))


def _found(notice: Notice, period: str, trigger: str, warehouse: Warehouse) -> Planned:
    """Return what is left of a run that was planned before."""
    run = runs.of_period(warehouse, notice, period)
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
    return Planned(run.run_id, chunks.unfinished(warehouse, run.run_id))


def _warn_of_no_way_out(notice: Notice, links: Links) -> None:
    category = notice.category
    if category.consent is not Consent.NONE and not links.leads(category):
        log.warning(
            "%s: its recipients may refuse %s, and its messages hold no link by which they do; set "
            "SLUICE_UNSUBSCRIBE_URL to where such links are to lead",
            notice.name,
            category.name,
        )


def _render_sample(
    notice: Notice,
    run: NoticeRun,
    sizes: Mapping[int, int],
    warehouse: Warehouse,
    *,
    words: Templates,
    links: Links,
) -> None:
    every = max(1, len(sizes) // _SAMPLED_CHUNKS)
    for ordinal in sorted(sizes)[::every]:
        chunk = chunks.find(warehouse, run.run_id, ordinal)
        recipients = audience.read(
            warehouse, notice, run, after=chunk.position, stop=chunk.stop, limit=_SAMPLED_RECIPIENTS
        )
        for recipient in recipients:
            link = links.of(recipient.user_id, notice.category)
            for medium in notice.channels:
                words.render(medium, recipient.values, unsubscribe_url=link.url)
