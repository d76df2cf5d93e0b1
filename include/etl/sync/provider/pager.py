"""Paging through a list: what to ask for next, and whether the list has ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from etl.declare.api.paging import (
    EmptyPage,
    Flag,
    LinkHeader,
    NextLink,
    OffsetPaging,
    PageNumberPaging,
    ShortPage,
    TokenPaging,
    Total,
    TotalPages,
)
from etl.declare.api.request import Placeholder
from etl.declare.provider import ErrorAction
from etl.declare.source import Listing
from etl.sync.provider import envelope
from etl.sync.provider.envelope import Envelope
from etl.sync.provider.failures import ProviderCallFailed
from etl.sync.provider.requests import clean_link
from etl.sync.records.documents import Leaf

MAX_POSITION_LENGTH = 2_000
"""Longest token or link, in characters; servers do not accept longer URLs."""

_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


@dataclass
class Pager:
    """Follows the pages of a list of one login.

    Parameters
    ----------
    source
        The list.
    page_size
        Records to request in one page.
    state
        Where to begin: empty for the first page, else as `state` was after an earlier page.
    pages
        Number of pages that were read before.
    secrets
        Names of the parameters of a query that hold credentials; no position keeps them.
    """

    source: Listing
    page_size: int
    state: str = ""
    pages: int = 0
    secrets: frozenset[str] = frozenset()
    position: str = field(default="", init=False)
    is_done: bool = field(default=False, init=False)
    _records: int = field(default=0, init=False)
    _total: int | None = field(default=None, init=False)
    _last_record: object = field(default=None, init=False)
    _seen: set[str] = field(default_factory=set, init=False)
    _previous: object = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.state:
            records, _, self.position = self.state.partition(":")
            self._records = int(records)

    @property
    def values(self) -> dict[Placeholder, object]:
        """What the placeholders of the next request stand for."""
        match self.source.paging:
            case OffsetPaging() if self._records:
                return {Placeholder.OFFSET: self._records - self._overlap}
            case PageNumberPaging(first=first):
                return {Placeholder.PAGE_NUMBER: int(self.position) if self.position else first}
            case TokenPaging() if self.position:
                return {Placeholder.PAGE_TOKEN: self.position}
        return {}

    @property
    def link(self) -> str:
        """URL of the next page, as the provider sent it; empty if there is none."""
        return self.position if isinstance(self.source.paging, NextLink | LinkHeader) else ""

    @property
    def fields(self) -> envelope.Fields:
        """Fields of an envelope that `follow` needs."""
        fields: list[tuple[str, Leaf]] = []
        match self.source.paging.end:
            case Total(path) | TotalPages(path):
                fields.append((path, Leaf(int)))
            case Flag(path):
                fields.append((path, Leaf(bool)))
        match self.source.paging:
            case TokenPaging(path):
                fields.append((path, Leaf(str | int, is_required=False)))
            case NextLink(path):
                fields.append((path, Leaf(str, is_required=False)))
        return tuple(fields)

    @property
    def _overlap(self) -> int:
        """Records of the next page that the page before had, too."""
        paging = self.source.paging
        has_overlap = isinstance(paging, OffsetPaging) and paging.identity is not None
        return 1 if has_overlap and self._last_record is not None else 0

    def follow(self, page: Envelope, headers: Mapping[str, str]) -> None:
        """Go on to the page after one that was read.

        Raises
        ------
        ProviderCallFailed
            If the list changed while it was read, so that it must be read again, or if it does not end.
        """
        overlap = self._overlap
        fresh = page.records - overlap
        self._require_unchanged(page, overlap)
        self._require_another_page(page)
        self.pages += 1
        self._records += fresh
        self._remember_last(page)
        position = self._next_position(page, headers)
        is_last = self._is_last(page, fresh)
        if is_last is None:
            is_last = not position
        if not is_last and not position:
            raise ProviderCallFailed(ErrorAction.RESTART_FEED, "a list that has more pages, without saying where")
        if not is_last and position in self._seen:
            raise ProviderCallFailed(ErrorAction.RETRY, f"a list that does not end, after {self.pages} pages")
        self._seen.add(position)
        self.position, self.is_done = ("", True) if is_last else (position, False)
        self.state = "" if is_last else f"{self._records}:{position}"

    def _require_unchanged(self, page: Envelope, overlap: int) -> None:
        """Refuse a page of a list from which records were added or removed since its first page was read.

        A page that begins with the last record of the page before shows it, although the total may be the same.
        """
        end, paging = self.source.paging.end, self.source.paging
        is_changed = False
        if isinstance(end, Total):
            total = page.fields[0]
            is_changed = self._total not in (None, total) or (page.records <= overlap and self._records < total)
            self._total = total
        if overlap and isinstance(paging, OffsetPaging) and paging.identity:
            records = page.lists[0]
            first = envelope.read_identity(records[0], paging.identity) if records else None
            is_changed = is_changed or first != self._last_record
        if is_changed:
            raise ProviderCallFailed(ErrorAction.RESTART_FEED, "a window that changed while it was read")

    def _require_another_page(self, page: Envelope) -> None:
        """Refuse a page that is the page before: a server that does not know the parameter sends the first for ever."""
        if not isinstance(self.source.paging, PageNumberPaging | OffsetPaging):
            return
        if page.records > 1 and page.lists == self._previous:
            raise ProviderCallFailed(
                ErrorAction.RETRY, f"a list that does not end: page {self.pages + 1} is the same as the page before"
            )
        self._previous = page.lists

    def _remember_last(self, page: Envelope) -> None:
        paging = self.source.paging
        if isinstance(paging, OffsetPaging) and paging.identity:
            records = page.lists[0]
            self._last_record = envelope.read_identity(records[-1], paging.identity) if records else None

    def _is_last(self, page: Envelope, fresh: int) -> bool | None:
        """Return whether a page is the last, by the end rule; None if only its link or token tells."""
        match self.source.paging.end:
            case EmptyPage():
                return fresh <= 0
            case ShortPage():
                return page.records < self.page_size
            case Total():
                return self._records >= int(page.fields[0])
            case TotalPages():
                return self.pages >= int(page.fields[0])
            case Flag(more=more):
                return bool(page.fields[0]) is not more
        return None

    def _next_position(self, page: Envelope, headers: Mapping[str, str]) -> str:
        match self.source.paging:
            case OffsetPaging():
                return str(self._records)
            case PageNumberPaging(first=first):
                return str(first + self.pages)
            case TokenPaging() | NextLink():
                position = page.fields[-1]
                text = "" if position is None else str(position)
            case LinkHeader(rel=rel):
                text = find_link(headers, rel)
            case _:
                text = ""
        if len(text) > MAX_POSITION_LENGTH or not text.isprintable():
            raise ProviderCallFailed(ErrorAction.RETRY, f"a link or token of {len(text)} characters to the next page")
        if not isinstance(self.source.paging, NextLink | LinkHeader):
            return text
        try:
            return clean_link(text, self.secrets)
        except ValueError:
            raise ProviderCallFailed(ErrorAction.RETRY, "a link to the next page that is no URL") from None


def find_link(headers: Mapping[str, str], rel: str) -> str:
    """Return the URL of the link with a relation in the `Link` header of a response; empty if there is none."""
    for url, parameters in _LINK.findall(headers.get("Link", "")):
        match = _REL.search(parameters)
        if match and rel.lower() in (match[1] or match[2] or "").lower().split():
            return str(url)
    return ""
