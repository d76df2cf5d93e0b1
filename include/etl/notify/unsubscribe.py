"""Unsubscribe: end messages of a category for whoever holds a link that came with one."""

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
    """What a link ended.

    Parameters
    ----------
    user_id
        Whose messages.
    category
        Of which category, over every channel.
    changed
        Whether they came until now; False if the link was used before, or the user is gone.
    """

    user_id: int
    category: str
    changed: bool


def apply_unsubscribe(link: str, *, db: Connection, links: UnsubscribeLinks | None = None) -> UnsubscribeResult:
    """Keep that a user refuses a category; only the page that is being handed over, of a second at most, still leaves.

    It may be called any number of times, also by two at once: what is known stays as it is, and since when. Call it
    for a POST only. Programs that look for viruses open each link of a mail, by GET.

    Parameters
    ----------
    link
        The link, or its token.
    links
        Read it; None for those that the settings ask for.

    Raises
    ------
    LinkInvalid
        If it was not sent from here, or is not whole.
    """
    ended = (links or UnsubscribeLinks(LinkSettings.from_environment())).decode(link)
    changed = consents.refuse(db, ended.user_id, ended.category)
    log.info("user %d unsubscribed from %s; was known: %s", ended.user_id, ended.category, not changed)
    return UnsubscribeResult(ended.user_id, ended.category, changed)
