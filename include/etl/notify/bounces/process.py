"""Process: records the reports of many mails; one that is wrong does not stop the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from etl.db.connection import Connection
from etl.notify.bounces.read import read_report
from etl.notify.bounces.record import Disposition, ReportRecorder
from etl.notify.bounces.report import ReportInvalid
from etl.notify.bounces.sources import ReceivedMail, mark_read

log = logging.getLogger(__name__)


@dataclass
class ProcessedMails:
    """Counts of mails.

    Attributes
    ----------
    recorded
        Reports that were recorded, by kind.
    repeated
        Reports that were recorded before.
    unmatched
        Mails that are no report, or belong to no delivery.
    """

    recorded: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    unmatched: int = 0


def process_mails(
    mails: Iterable[ReceivedMail],
    recorder: ReportRecorder,
    *,
    db: Connection,
    on_unmatched: Callable[[str, str], None],
) -> ProcessedMails:
    """Record the reports of mails, and mark each mail as read after it is recorded.

    Parameters
    ----------
    on_unmatched
        Called with the name of a mail that was not matched, and with the reason, which quotes nothing of it.
    """
    result = ProcessedMails()
    for mail in mails:
        try:
            report = read_report(mail.content)
        except ReportInvalid as error:
            reason = str(error)
        else:
            recorded = recorder.record(report, db=db)
            reason = recorded.reason
            if recorded.disposition is Disposition.RECORDED:
                result.recorded[report.kind.value] += 1
            elif recorded.disposition is Disposition.REPEATED:
                result.repeated += 1
        if reason:
            result.unmatched += 1
            on_unmatched(mail.name, reason)
        mark_read(mail, is_matched=not reason)
    return result
