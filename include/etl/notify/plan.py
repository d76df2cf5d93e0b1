"""Plan: creates the run of a notice and divides its audience into chunks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product

from etl.db.connection import Connection
from etl.declare.notice import Consent, Notice
from etl.notify.audience.check import check_chunk
from etl.notify.store import approvals, chunks, recipients, restores, runs
from etl.notify.store.announcements import Announcement
from etl.notify.store.runs import NoticeRun
from etl.notify.templates import Templates
from etl.notify.timing.spreading import spread_pace
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)

_SAMPLE_CHUNKS = 8
_SAMPLE_RECIPIENTS_PER_CHUNK = 4


@dataclass(frozen=True)
class PlannedRun:
    """A run, and what is left to send of it.

    Parameters
    ----------
    run_id
        The run.
    ordinals
        Its unfinished chunks; empty if there is nothing to send.
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
    """Create the run of a period, or return the existing one if the same trigger created it.

    The audience never leaves the database. The messages of a sample of recipients from all over the audience are
    rendered first, so that a broken template fails here, before anything is sent.

    Parameters
    ----------
    notice
        What is sent.
    period
        Period of the run; nobody gets the notice twice for one period.
    trigger
        Id of the Dag run, or name of the call, that plans.
    as_of
        Instant as of which the audience is selected, and from which the expiry of the notice counts.
    templates
        Templates to render; None for those of the notice's folder.
    parameters
        Values for the statements and templates of the notice, in addition to those that it declares or in place of
        them.
    announcement
        Listed recipients and their values; None to select recipients by the notice's SQL.
    links
        Builds unsubscribe links; None to build it from the environment's settings.

    Raises
    ------
    LedgerUntrusted
        If the database was restored, and its ledger may not know what was sent.
    SettingInvalid
        If the settings of unsubscribe links are invalid.
    TemplateBroken
        If a template cannot be rendered for the sample; nothing is planned then.
    RecipientsIncomplete
        If the statement `recipients` lacks a column.
    AudienceInvalid
        If a statement of the audience fails, or returns what would lose or repeat recipients; nothing is planned then.
    """
    restores.require_trusted(db)
    templates = templates or Templates(notice)
    links = links or UnsubscribeLinks(LinkSettings.from_environment())
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
            chunk_sizes = chunks.plan(db, notice, run)
            recipient_count = sum(chunk_sizes.values())
            if announcement is None:
                if notice.spread is not None:
                    runs.set_pace_or_state(db, run.run_id, pace=spread_pace(notice, recipient_count))
                approvals.request_if_needed(db, notice, run, recipients=recipient_count)
            _render_sample(notice, run, chunk_sizes, db, templates=templates, links=links)
    if run is None:
        return _find_planned(notice, period, trigger, db)
    _warn_if_no_unsubscribe_link(notice, links)
    if not chunk_sizes:
        log.warning("%s %s: no recipients; run %d is done", notice.name, period, run.run_id)
    else:
        log.info(
            "%s %s: run %d of %d recipients in %d chunks",
            notice.name,
            period,
            run.run_id,
            recipient_count,
            len(chunk_sizes),
        )
    return PlannedRun(run.run_id, sorted(chunk_sizes))


def _find_planned(notice: Notice, period: str, trigger: str, db: Connection) -> PlannedRun:
    """Return the run of a period that was planned before; without chunks, if another trigger planned it."""
    run = runs.find_by_period(db, notice, period)
    if run is None:
        raise RuntimeError(f"{notice.name}: the run of {period} is gone")
    if run.trigger != trigger:
        log.warning(
            "%s: %s was planned already, by %s as run %d, so there is nothing to do; if that run did not end, clear "
            "its failed tasks",
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
            "%s: its recipients may refuse %s, but its messages have no unsubscribe link; set SLUICE_UNSUBSCRIBE_URL "
            "to the page that handles such links",
            notice.name,
            category.name,
        )


def _render_sample(
    notice: Notice,
    run: NoticeRun,
    chunk_sizes: Mapping[int, int],
    db: Connection,
    *,
    templates: Templates,
    links: UnsubscribeLinks,
) -> None:
    step = max(1, len(chunk_sizes) // _SAMPLE_CHUNKS)
    for ordinal in sorted(chunk_sizes)[::step]:
        chunk = chunks.find(db, run.run_id, ordinal)
        check_chunk(notice, run, chunk, db=db)
        sample = recipients.read_page(
            db, notice, run, after=chunk.position, stop=chunk.stop, limit=_SAMPLE_RECIPIENTS_PER_CHUNK
        )
        for recipient in sample:
            link = links.build(recipient.user_id, notice.category)
            locales = {recipient.locale or notice.locale, *templates.locales}
            for channel, locale in product(notice.channels, sorted(locales)):
                templates.render(
                    channel,
                    recipient.values,
                    unsubscribe_url=link.url,
                    locale=locale,
                    time_zone=recipient.time_zone,
                )
