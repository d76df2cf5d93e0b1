"""How the pages of a list follow one another, and how its end is recognised."""

from __future__ import annotations

from dataclasses import dataclass, field

from etl.declare.api.request import Placeholder
from etl.declare.validation import FIELD, require_count, require_field_path, require_type
from etl.errors import DeclarationError


@dataclass(frozen=True)
class EmptyPage:
    """The list ends with a page that has no records."""


@dataclass(frozen=True)
class ShortPage:
    """The list ends with a page that has fewer records than were asked for.

    Only for providers that always fill a page: the request must say how many records it wants.
    """


@dataclass(frozen=True)
class Total:
    """A field has the number of records of the list; it must stay the same from page to page."""

    path: str

    def __post_init__(self) -> None:
        require_field_path("Total", "path", self.path)


@dataclass(frozen=True)
class TotalPages:
    """A field has the number of pages of the list."""

    path: str

    def __post_init__(self) -> None:
        require_field_path("TotalPages", "path", self.path)


@dataclass(frozen=True)
class Flag:
    """A field tells whether there are more pages.

    Parameters
    ----------
    path
        Path of the field.
    more
        Its value while there are more: False for a field such as `is_last`.
    """

    path: str
    more: bool = True

    def __post_init__(self) -> None:
        require_field_path("Flag", "path", self.path)
        require_type("Flag", "more", self.more, bool)


EndRule = EmptyPage | ShortPage | Total | TotalPages | Flag
END_RULES = (EmptyPage, ShortPage, Total, TotalPages, Flag)


@dataclass(frozen=True)
class OnePage:
    """All records come in one page."""

    end: None = None
    placeholder: None = field(default=None, init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class OffsetPaging:
    """The request says how many records to skip.

    Parameters
    ----------
    end
        How the end is recognised.
    identity
        Field of a record that identifies it. Each page then begins with the last record of the page before, which shows
        whether records were added or removed meanwhile. None if records have no id: a removed one may hide another.
    """

    end: EndRule
    identity: str | None = None
    placeholder: Placeholder = field(default=Placeholder.OFFSET, init=False, repr=False)

    def __post_init__(self) -> None:
        _require_end("OffsetPaging", self.end)
        require_type("OffsetPaging", "identity", self.identity, str, type(None))
        if self.identity is not None and not FIELD.fullmatch(self.identity):
            raise DeclarationError(
                f"OffsetPaging: identity is {self.identity!r}; write the name of a field of a record, without dots"
            )


@dataclass(frozen=True, kw_only=True)
class PageNumberPaging:
    """The request says the number of the page.

    Parameters
    ----------
    end
        How the end is recognised.
    first
        Number of the first page: 0 or 1.
    """

    end: EndRule
    first: int = 1
    placeholder: Placeholder = field(default=Placeholder.PAGE_NUMBER, init=False, repr=False)

    def __post_init__(self) -> None:
        _require_end("PageNumberPaging", self.end)
        require_count("PageNumberPaging", "first", self.first, minimum=0, maximum=1)


@dataclass(frozen=True)
class TokenPaging:
    """The response has a token for the next page, valid only within this list.

    Parameters
    ----------
    path
        Path of the token; null, empty or absent on the last page.
    end
        A further sign of the end; None if the token suffices.
    """

    path: str
    end: EndRule | None = None
    placeholder: Placeholder = field(default=Placeholder.PAGE_TOKEN, init=False, repr=False)

    def __post_init__(self) -> None:
        require_field_path("TokenPaging", "path", self.path)
        if self.end is not None:
            _require_end("TokenPaging", self.end)


@dataclass(frozen=True)
class NextLink:
    """The response has the URL of the next page in its body.

    Parameters
    ----------
    path
        Path of the URL, which may be relative; null, empty or absent on the last page. It must be on the same host.
    end
        A further sign of the end; None if the link suffices.
    """

    path: str
    end: EndRule | None = None
    placeholder: None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require_field_path("NextLink", "path", self.path)
        if self.end is not None:
            _require_end("NextLink", self.end)


@dataclass(frozen=True)
class LinkHeader:
    """The response has a `Link` header (RFC 8288) with the URL of the next page.

    Parameters
    ----------
    rel
        Relation of the link.
    """

    rel: str = "next"
    end: None = field(default=None, init=False, repr=False)
    placeholder: None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require_type("LinkHeader", "rel", self.rel, str)
        if not self.rel.strip():
            raise DeclarationError("LinkHeader: rel is empty; write the relation of the next page, such as 'next'")


Paging = OnePage | OffsetPaging | PageNumberPaging | TokenPaging | NextLink | LinkHeader
PAGING_TYPES = (OnePage, OffsetPaging, PageNumberPaging, TokenPaging, NextLink, LinkHeader)


def _require_end(where: str, end: object) -> None:
    require_type(where, "end", end, *END_RULES)
