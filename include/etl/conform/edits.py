"""Changes of a reel: what a bank has after a record changed, went or came, and pages that lead elsewhere."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from etl.conform import shape
from etl.conform.calls import next_target
from etl.conform.reel import ORIGIN, Page, Reel
from etl.conform.verdict import NotApplicable
from etl.declare.api.paging import Flag, LinkHeader, NextLink, OffsetPaging, TokenPaging, Total
from etl.declare.column import Column
from etl.declare.entity import Entity
from etl.declare.source import Feed, Listing, Source

Record = dict[str, Any]

LATER_CURSOR = "conform-later"
"""Cursor of a page that is added to a feed."""


def records(source: Source, reel: Reel, login: int) -> list[Record]:
    """Return the records to insert or update of a login, in their order; changing one changes the reel."""
    return [each for page in reel.logins[login] for each in page_records(source, page)]


def page_records(source: Source, page: Page) -> list[Record]:
    """Return the records to insert or update of a page."""
    found = [each[index] for each, index in shape.records_of(source, page.document)]
    return [record for record in found if isinstance(record, dict)]


def remove(source: Source, reel: Reel, login: int, record: Record) -> None:
    """Remove each record that is equal to one, as if the bank never had it; totals follow."""
    for page in reel.logins[login]:
        for path in source.upserts:
            for found in shape.lists_at(page.document, path):
                found[:] = [each for each in found if each != record]
    _change_total(source, reel, login, -1)


def change_text(entity: Entity, source: Source, reel: Reel, login: int) -> Column:
    """Change a free text of a record, and return its column.

    Raises
    ------
    NotApplicable
        If no record has one.
    """
    for record in records(source, reel, login):
        column = shape.free_text(entity, record)
        if column is not None:
            before = deepcopy(record)
            for each in records(source, reel, login):
                if each == before:
                    shape.write_field(each, column, shape.OTHER_TEXT)
            return column
    raise NotApplicable("no column of text may change without another consequence")


def append_to_feed(feed: Feed, reel: Reel, login: int, path: str, record: Record) -> None:
    """Let a feed go on with a page of one record.

    Parameters
    ----------
    path
        Path of the list that has the record.
    """
    pages = reel.logins[login]
    last = pages[-1]
    document = deepcopy(last.document)
    shape.empty_lists(feed, document)
    found = shape.lists_at(document, path)
    if found:
        found[0].append(record)
    else:
        shape.set_value(document, path, record)
    cursor = shape.text_at(last.document, feed.cursor)
    shape.set_value(document, feed.cursor, LATER_CURSOR)
    positions = {cursor: None}
    if not page_records(feed, last) and len(pages) > 1:
        # The page that ended the feed was empty; now it has the record.
        pages.pop()
        positions = {last.position: None, cursor: None}
    set_more(feed, pages[-1])
    pages += [Page(position, document) for position in positions]
    if not isinstance(feed.end, Flag):
        end = deepcopy(document)
        shape.empty_lists(feed, end)
        pages.append(Page(LATER_CURSOR, end))


def shift(source: Listing, reel: Reel, login: int) -> tuple[Reel, Reel]:
    """Return what a list is after its first record was removed, and how its later pages then begin.

    Returns
    -------
    tuple of Reel
        The pages as they are read after the first one was read before; and all pages as they are read anew.

    Raises
    ------
    NotApplicable
        If a page has several lists, whose borders a shift would not tell.
    """
    if len(source.upserts) > 1 or source.upserts[0].count("[]") > 1:
        raise NotApplicable("its pages have several lists, or lists within others, of which none is known to shift")
    overlap = 1 if isinstance(source.paging, OffsetPaging) and source.paging.identity else 0
    pages = reel.logins[login]
    lists = [shape.lists_at(page.document, source.upserts[0])[0] for page in pages]
    sizes = [len(each) - (overlap if number else 0) for number, each in enumerate(lists)]
    flat = [record for number, each in enumerate(lists) for record in each[overlap if number else 0 :]]
    anew = reel.copy()
    del flat[0]
    start = 0
    for number, page in enumerate(anew.logins[login]):
        begin = max(start - overlap, 0) if number else 0
        shape.lists_at(page.document, source.upserts[0])[0][:] = flat[begin : start + sizes[number]]
        start += sizes[number]
    _change_total(source, anew, login, -1)
    meanwhile = anew.copy()
    meanwhile.logins[login][0] = deepcopy(pages[0])
    return meanwhile, anew


def lead_to(source: Source, page: Page, position: str) -> Page:
    """Return a page that says that the next page is at a position, whatever it said before.

    Raises
    ------
    NotApplicable
        If the pages of the source do not say where the next one is.
    """
    led = deepcopy(page)
    match source.paging if isinstance(source, Listing) else None:
        case None if isinstance(source, Feed):
            shape.set_value(led.document, source.cursor, position)
        case TokenPaging(path):
            shape.set_value(led.document, path, position)
        case NextLink(path):
            shape.set_value(led.document, path, ORIGIN + position)
        case LinkHeader(rel):
            led.link = f'<{ORIGIN}{position}>; rel="{rel}"'
        case _:
            raise NotApplicable("its requests count pages or records, so that no answer can lead to another page")
    set_more(source, led)
    return led


def set_more(source: Source, page: Page) -> None:
    """Let a page say that there are more, if a flag says so."""
    end = source.end if isinstance(source, Feed) else source.paging.end if isinstance(source, Listing) else None
    if isinstance(end, Flag):
        shape.set_value(page.document, end.path, end.more)


def position_behind(source: Source, page: Page) -> str:
    """Return where a page says that the next one is; empty if it does not say."""
    if isinstance(source, Feed):
        return shape.text_at(page.document, source.cursor)
    if isinstance(source, Listing) and isinstance(source.paging, TokenPaging):
        return shape.text_at(page.document, source.paging.path)
    return next_target(source, page)


def set_total(source: Source, reel: Reel, login: int, total: int) -> None:
    """Let the pages of a login say how many records they have together, where they say it."""
    end = source.paging.end if isinstance(source, Listing) else None
    if isinstance(end, Total):
        for page in reel.logins[login]:
            shape.set_value(page.document, end.path, total)


def _change_total(source: Source, reel: Reel, login: int, change: int) -> None:
    end = source.paging.end if isinstance(source, Listing) else None
    if isinstance(end, Total):
        total = int(shape.text_at(reel.logins[login][0].document, end.path) or 0)
        set_total(source, reel, login, total + change)
