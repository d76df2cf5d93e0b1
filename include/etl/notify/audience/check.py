"""Checks of the statements of an audience: on a few chunks when a run is planned, and at the end of each chunk."""

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
    """Read the first recipients of a chunk as a sender would, and count all of them.

    Raises
    ------
    AudienceInvalid
        If they lose or repeat recipients, or `bounds` and `recipients` do not agree on their number.
    """
    check_pages(notice, run, chunk.start, chunk.stop, db=db)
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


def check_pages(notice: Notice, run: NoticeRun, start: int, stop: int, *, db: Connection) -> None:
    """Read the first two pages of a range of positions, and once more the first recipient alone, as a sender would.

    Raises
    ------
    AudienceInvalid
        If they lose or repeat recipients.
    """
    first_page = recipients.read_page(db, notice, run, after=start - 1, stop=stop, limit=_PAGE_SIZE)
    if first_page:
        recipients.read_page(db, notice, run, after=first_page[-1].position, stop=stop, limit=_PAGE_SIZE)
        recipients.read_page(db, notice, run, after=start - 1, stop=first_page[0].position + 1, limit=_PAGE_SIZE)


def is_walk_over(
    notice: Notice, run: NoticeRun, chunk: NoticeChunk, position: int, *, limit: int, db: Connection
) -> bool:
    """Return whether a chunk has no recipients after the last page, once a page was empty.

    Raises
    ------
    AudienceInvalid
        If it has some, but the page stays empty, as where a statement selects after its limit.
    """
    left = recipients.count_between(db, run, position + 1, chunk.stop)
    if not left:
        return True
    if recipients.read_page(db, notice, run, after=position, stop=chunk.stop, limit=limit):
        return False  # Somebody has joined the audience since.
    raise AudienceInvalid(
        run.statement_file,
        "recipients",
        f"returned an empty page after position {position}, but {left:,} recipients without a limit",
        "let `limit %(limit)s` be the last thing that it does, after all conditions",
    )
