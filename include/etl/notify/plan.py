"""Plan a notice: freeze its run, and cut its audience into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from etl.db.connection import Connection
from etl.declare.notice import Consent, Notice
from etl.notify.store import chunks, runs
from etl.notify.store import recipients as audience
from etl.notify.store.announcements import Announcement
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

_SAMPLE_CHUNKS = 8
_SAMPLE_RECIPIENTS_PER_CHUNK = 4
"""In each of these chunks."""


@dataclass(frozen=True)
class PlannedRun:
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


def plan_run(
    notice: Notice,
    period: str,
    *,
    trigger: str,
    as_of: datetime,
    db: Connection,
    templates: Templates | None = None,
    parameters: Mapping[str, object] | None = None,
    announcement: Announcement | None = None,
    links: UnsubscribeLinks | None = None,
) -> PlannedRun:
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
    ways_out = links or UnsubscribeLinks(LinkSettings.from_environment())
    with db.transaction():
        run = runs.create(
            db,
            notice,
            period,
            trigger=trigger,
            as_of=as_of,
            parameters={**notice.parameters, **(parameters or {})},
            announcement=announcement,
        )
        if run is not None:
            recipients = chunks.plan(db, notice, run)
            _render_sample(notice, run, recipients, db, templates=words, links=ways_out)
    if run is None:
        return _find_planned(notice, period, trigger, db)
    _warn_if_no_unsubscribe_link(notice, ways_out)
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
    return PlannedRun(run.run_id, sorted(recipients))


def _find_planned(notice: Notice, period: str, trigger: str, db: Connection) -> PlannedRun:
    """Return what is left of a run that was planned before."""
    run = runs.find_by_period(db, notice, period)
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
        return PlannedRun(run.run_id, [])
    return PlannedRun(run.run_id, chunks.list_unfinished(db, run.run_id))


def _warn_if_no_unsubscribe_link(notice: Notice, links: UnsubscribeLinks) -> None:
    category = notice.category
    if category.consent is not Consent.NONE and not links.has_link(category):
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
    db: Connection,
    *,
    templates: Templates,
    links: UnsubscribeLinks,
) -> None:
    every = max(1, len(sizes) // _SAMPLE_CHUNKS)
    for ordinal in sorted(sizes)[::every]:
        chunk = chunks.find(db, run.run_id, ordinal)
        recipients = audience.read_page(
            db, notice, run, after=chunk.position, stop=chunk.stop, limit=_SAMPLE_RECIPIENTS_PER_CHUNK
        )
        for recipient in recipients:
            link = links.build(recipient.user_id, notice.category)
            for medium in notice.channels:
                templates.render(medium, recipient.values, unsubscribe_url=link.url)
