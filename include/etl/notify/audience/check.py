"""Checks of the statements of an audience on a few of its chunks, when a run is planned."""

from __future__ import annotations

from etl.db.connection import Connection
from etl.declare.notice import Notice
from etl.notify.audience.rules import AudienceInvalid
from etl.notify.store import recipients
from etl.notify.store.chunks import NoticeChunk
from etl.notify.store.runs import NoticeRun

_PAGE_SIZE = 4
_MAX_DIFFERENCE, _MAX_DIFFERENCE_SHARE = 10, 0.1
"""By how many recipients, and by which share, the two statements may differ: the audience changes between them."""


def check_chunk(notice: Notice, run: NoticeRun, chunk: NoticeChunk, *, db: Connection) -> None:
    """Read two pages of a chunk, and what is before its second recipient, as a sender would; count all of it.

    Raises
    ------
    AudienceInvalid
        If they lose or repeat recipients, or `bounds` and `recipients` do not agree on their number.
    """
    first_page = recipients.read_page(db, notice, run, after=chunk.start - 1, stop=chunk.stop, limit=_PAGE_SIZE)
    if first_page:
        recipients.read_page(db, notice, run, after=first_page[-1].position, stop=chunk.stop, limit=_PAGE_SIZE)
        recipients.read_page(db, notice, run, after=chunk.start - 1, stop=first_page[0].position + 1, limit=_PAGE_SIZE)
    found = recipients.count_between(db, run, chunk.start, chunk.stop)
    differs = abs(found - chunk.recipients) > max(_MAX_DIFFERENCE, _MAX_DIFFERENCE_SHARE * chunk.recipients)
    if differs or (chunk.recipients > 1 and not found):
        raise AudienceInvalid(
            run.statement_file,
            "recipients",
            f"returned {found:,} recipients from position {chunk.start} to {chunk.stop - 1}, where `bounds` has "
            f"{chunk.recipients:,}",
            "let both select by the same rule and return the same positions",
        )
