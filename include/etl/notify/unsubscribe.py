"""Unsubscribe: ends messages of a category for the user of an unsubscribe link."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from etl.db.connection import Connection
from etl.notify.store import consents
from etl.notify.unsubscribe_links import UnsubscribeLinks
from etl.settings import LinkSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnsubscribeResult:
    """Result of using a link.

    Parameters
    ----------
    user_id
        User of the link.
    category
        Category that the user has unsubscribed from, over every channel.
    changed
        Whether this changed anything; False if the user had unsubscribed before, or does not exist any more.
    """

    user_id: int
    category: str
    changed: bool


def apply_unsubscribe(link: str, *, db: Connection, links: UnsubscribeLinks | None = None) -> UnsubscribeResult:
    """Record that the user of a link refuses its category; only a page being sent now, of at most a second, still goes.

    It may be called any number of times, also concurrently: a recorded refusal and its date do not change. Call it for
    a POST only: virus scanners open each link of a mail, by GET.

    Parameters
    ----------
    link
        The link, or its token.
    links
        Decodes the link; None to build it from the environment's settings.

    Raises
    ------
    UnsubscribeLinkInvalid
        If the link was not created by this installation, or is incomplete.
    """
    target = (links or UnsubscribeLinks(LinkSettings.from_environment())).decode(link)
    changed = consents.refuse(db, target.user_id, target.category)
    log.info("user %d unsubscribed from %s; changed: %s", target.user_id, target.category, changed)
    return UnsubscribeResult(target.user_id, target.category, changed)
