"""Records reports: matches each to its delivery, and lets a complaint take effect at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from etl.db.connection import Connection
from etl.declare.channel import Channel
from etl.declare.notice import Category, Consent
from etl.notify.bounces.report import Report
from etl.notify.bounces.return_path import ReturnPaths
from etl.notify.bounces.store import bounces
from etl.notify.bounces.store.bounces import BounceKind, ReportedDelivery
from etl.notify.store import consents, suppressions

SUPPRESSION_REASON = "complained"

_MESSAGE_ID = re.compile(r"<delivery\.(\d{1,18})@[^<>\s]+>")
_OPT_OUT = "opt-out"

log = logging.getLogger(__name__)


class Disposition(Enum):
    """What became of a report."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    """It was recorded before."""
    UNMATCHED = "unmatched"
    """It belongs to no delivery."""


@dataclass(frozen=True)
class RecordedReport:
    """Result of recording a report.

    Parameters
    ----------
    disposition
        What became of it.
    reason
        Why it was not matched; empty if it was.
    delivery_id
        Its delivery; None if it was not matched.
    """

    disposition: Disposition
    reason: str = ""
    delivery_id: int | None = None


class ReportRecorder:
    """Records reports about mails.

    Parameters
    ----------
    return_paths
        Verify whether a report is about a mail from here.
    email
        The channel of mails.
    categories
        Name of a notice → its category, which a complaint ends for its user.
    """

    def __init__(self, return_paths: ReturnPaths, email: Channel, categories: Mapping[str, Category]) -> None:
        self._return_paths = return_paths
        self._email = email
        self._categories = categories

    def record(self, report: Report, *, db: Connection) -> RecordedReport:
        """Record one report; one that comes again changes nothing.

        A report must prove that its sender got the mail: by the signed return path, or by the address of the recipient
        beside the Message-ID, since the numbers in Message-IDs can be guessed.
        """
        signed_id = self._return_paths.find(report.return_paths)
        delivery_id = signed_id if signed_id is not None else _find_delivery_id(report.message_ids)
        if delivery_id is None:
            return RecordedReport(Disposition.UNMATCHED, "it names no delivery")
        delivery = bounces.find_delivery(db, delivery_id, report.recipients)
        if delivery is None:
            return RecordedReport(Disposition.UNMATCHED, f"there is no sent mail of delivery {delivery_id}")
        if signed_id is None and not report.is_authentic and not delivery.is_named:
            reason = f"it is not signed, and does not name the recipient of delivery {delivery_id}"
            return RecordedReport(Disposition.UNMATCHED, reason)
        with db.transaction():
            is_new = bounces.record_report(db, delivery, report.kind, status=report.status, detail=report.detail)
            if is_new and report.kind is BounceKind.COMPLAINT:
                self._apply_complaint(delivery, report, db=db)
        return RecordedReport(Disposition.RECORDED if is_new else Disposition.REPEATED, delivery_id=delivery_id)

    def _apply_complaint(self, delivery: ReportedDelivery, report: Report, *, db: Connection) -> None:
        """Suppress the address, unless only the category was refused, and end the category for the user."""
        if delivery.address is not None and report.status != _OPT_OUT:
            suppressions.add(db, self._email, [(delivery.address, SUPPRESSION_REASON)])
        category = self._categories.get(delivery.notice)
        if category is not None and category.consent is not Consent.NONE:
            consents.refuse(db, delivery.user_id, category.name)
        log.info("user %d complained about delivery %d of %s", delivery.user_id, delivery.delivery_id, delivery.notice)


def _find_delivery_id(message_ids: tuple[str, ...]) -> int | None:
    return next((int(match[1]) for text in message_ids if (match := _MESSAGE_ID.search(text))), None)
