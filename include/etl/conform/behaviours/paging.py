"""Behaviours of pages that follow one another: what changes, repeats, returns or never ends while it is read."""

from __future__ import annotations

from copy import deepcopy

from etl.conform import edits, shape
from etl.conform.banks import Asked
from etl.conform.checks import unread_lists
from etl.conform.documented import CHANGED
from etl.conform.play import Play, answer_once, page_of
from etl.conform.reel import Reel
from etl.conform.server import Answer
from etl.conform.verdict import NotApplicable, Wrong
from etl.declare.api.paging import OffsetPaging, Total
from etl.declare.provider import ErrorAction
from etl.declare.source import Feed, Listing, Recent


def changed_while_read(play: Play) -> str:
    """Change what was read already before the second page; a feed says so by an error, a list does not."""
    play.require_pages(2)
    if isinstance(play.source, Feed):
        return _changed_feed(play)
    meanwhile, anew = edits.shift(play.source, play.original, play.victim)

    def shift(asked: Asked) -> None:
        if asked.index == 1 and play.bank.reel is play.original:
            play.bank.reel = meanwhile
        elif asked.index == 0 and play.bank.reel is meanwhile:
            play.bank.reel = anew

    play.intercept(shift)
    play.run()
    play.require_neighbours()
    missed = play.find_difference(anew)
    play.settle(anew)
    if missed:
        return "a record that moved to a page already read was missed until the next run; end=Total(…) would notice it"
    return "the list was read again from its first page"


def removed(play: Play) -> str:
    """Remove a record after it was loaded."""
    without = _removed_from_feed(play, play.source) if isinstance(play.source, Feed) else _without_a_record(play)
    play.run()
    play.require_in_this_run()
    before = play.count_live()
    play.calm(without)
    play.run()
    if play.count_live() != before - 1:
        raise Wrong(f"of {before} live rows, {play.count_live()} are live after one was removed, not {before - 1}")
    play.require_equal(without)
    return "its row ended, and only that"


def removed_before_added(play: Play) -> str:
    """Remove a record on a page before the one that adds it."""
    play.require_pages(2)
    feed, path = _removal_list(play)
    record = edits.page_records(feed, play.pages[-1]) or edits.page_records(feed, play.pages[-2])
    if not record:
        raise NotApplicable("its last pages have no record")
    reel = play.original.copy()
    document = reel.logins[play.victim][0].document
    removal = shape.removal_of(play.entity, record[0])
    for found in shape.lists_at(document, path):
        found.append(removal)
    play.bank.reel = reel
    play.run()
    play.require_equal(play.original)
    return "the record is live, as the feed said last"


def repeated_page(play: Play) -> str:
    """Send a page once more in place of the one after it."""
    play.require_pages(3)
    play.intercept(answer_once(page_of(play.pages[1]), index=2))
    play.run()
    play.require_neighbours()
    found = play.require_visible_or_loaded()
    return f"the login was {found}; all was loaded by {play.settle()}"


def cursor_goes_back(play: Play) -> str:
    """Let a page lead back to one that was read before, once."""
    play.require_pages(3)
    back = edits.lead_to(play.source, play.pages[1], play.pages[1].position)
    play.intercept(answer_once(page_of(back), index=1))
    play.run()
    play.require_neighbours()
    found = play.require_visible_or_loaded()
    return f"the login was {found}; all was loaded by {play.settle()}"


def endless(play: Play) -> str:
    """Let the same page follow itself for ever."""
    play.require_pages(2)
    page = deepcopy(play.pages[1])
    try:
        page = edits.lead_to(play.source, page, page.position)
    except NotApplicable:
        edits.set_more(play.source, page)
    answer = page_of(page)
    play.intercept(lambda asked: answer if asked.index >= 1 else None)
    play.run()
    play.require_neighbours()
    reason = play.require_visible()
    return f"the login was left out as {reason}; all was loaded by {play.settle()}"


def duplicate(play: Play) -> str:
    """Send a record of the first page on the second once more."""
    play.require_pages(2)
    paging = play.source.paging if isinstance(play.source, Listing) else None
    if isinstance(paging, OffsetPaging) or (paging and isinstance(paging.end, Total)):
        raise NotApplicable("its records are counted, so that a second one is a change of the list")
    reel = play.original.copy()
    lists = [shape.lists_at(page.document, play.source.upserts[0]) for page in reel.logins[play.victim][:2]]
    if not all(lists) or not lists[0][0]:
        raise NotApplicable(f"its first page has no record at {play.source.upserts[0]}")
    lists[1][0].append(deepcopy(lists[0][0][0]))
    play.bank.reel = reel
    play.run()
    play.require_equal(play.original)
    return "it is one row"


def _changed_feed(play: Play) -> str:
    errors = play.errors(CHANGED, ErrorAction.RESTART_FEED)
    if not errors:
        raise Wrong(
            "no error rule says what the provider answers then, so that the login is left out, or pages of before and "
            "after are loaded together"
        )
    changed = play.original.copy()
    first = next((page for page in play.pages if edits.page_records(play.source, page)), None)
    if first is None:
        raise NotApplicable("its pages have no record")
    edits.remove(play.source, changed, play.victim, edits.page_records(play.source, first)[0])

    def change(asked: Asked) -> Answer | None:
        if asked.index != 1 or play.bank.reel is changed:
            return None
        play.bank.reel = changed
        return errors[0]

    play.intercept(change)
    play.run()
    play.require_neighbours()
    play.require_in_this_run(changed)
    return "the feed was read again from where the download began, in the same run"


def _removal_list(play: Play) -> tuple[Feed, str]:
    if not isinstance(play.source, Feed):
        raise NotApplicable("it is a list, which has no removals")
    if not play.source.deletes:
        found = unread_lists([play.entity, *play.steps.followers], play.source, play.original)
        unread = [path for path, has_key in found.items() if has_key is not False]
        seen = f"; nothing reads the list {unread[0]} of its pages" if unread else ""
        raise Wrong(f"the feed declares no list of removals, so that a row never ends{seen}")
    return play.source, play.source.deletes[0]


def _removed_from_feed(play: Play, feed: Feed) -> Reel:
    _, path = _removal_list(play)
    found = edits.records(feed, play.original, play.victim)
    record = next((each for each in found if shape.plain_key(play.entity, each) is not None), None)
    if record is None:
        raise NotApplicable("no record has the key in fields of its own")
    reel = play.original.copy()
    edits.append_to_feed(feed, reel, play.victim, path, shape.removal_of(play.entity, record))
    return reel


def _without_a_record(play: Play) -> Reel:
    """Return the reel without a record whose absence means something."""
    found = edits.records(play.source, play.original, play.victim)
    if not found[1:]:
        raise NotApplicable("it needs a login with two records")
    for record in (found[-1], found[0], found[len(found) // 2]):
        reel = play.original.copy()
        edits.remove(play.source, reel, play.victim, record)
        gone = play.rows_only_in(play.original, reel)
        if len(gone) == 1 and (not isinstance(play.source, Recent) or play.is_judged(gone[0])):
            return reel
    raise NotApplicable("no record lies in the days that are read again, so that its absence would say nothing")
