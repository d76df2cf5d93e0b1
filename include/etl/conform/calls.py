"""Calls as they reach the proxy: which login they are about, and which page they ask for."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus, urlencode, urljoin, urlsplit

from etl.conform import shape
from etl.conform.reel import ORIGIN, Page
from etl.declare.api.paging import LinkHeader, NextLink, OffsetPaging, OnePage, PageNumberPaging, Paging, TokenPaging
from etl.declare.api.request import Day, Encoding, Placeholder, Text
from etl.declare.source import Feed, Listing, Source
from etl.sync.provider.failures import texts_at
from etl.sync.provider.pager import find_link


@dataclass(frozen=True)
class Call:
    """A request, as it came.

    Parameters
    ----------
    method, target, headers, body
        Its parts; the target is path and query as they came, and names of headers are in lower case.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Its path, decoded."""
        return unquote(urlsplit(self.target).path)

    @property
    def origin(self) -> str:
        """Scheme, host and port to which it was sent."""
        return f"http://{self.headers['host']}"

    @property
    def text(self) -> str:
        """All that it says, for finding out who asks."""
        headers = list(self.headers.values())
        headers += [_decode_basic(value) for value in headers if value.startswith("Basic ")]
        return "\n".join((unquote_plus(self.target), *headers, unquote_plus(self.body.decode(errors="replace"))))


def find_login(call: Call, credentials: Sequence[Sequence[str]]) -> int | None:
    """Return the login that a call is about, by which of its credentials the call has; None if it has none.

    Parameters
    ----------
    credentials
        For each login, what identifies it; what is longer decides, since an id may be a part of another.
    """
    text = call.text
    found = [(len(each), login) for login, known in enumerate(credentials) for each in known if each and each in text]
    return max(found)[1] if found else None


def asks_for(call: Call, source: Source) -> bool:
    """Return whether a call has the method and the path of a source."""
    return call.method == source.verb.value and _path_pattern(source).fullmatch(call.path) is not None


def position_of(call: Call, source: Source) -> str:
    """Return what a call sends to say which page it asks for; empty if it says nothing."""
    placeholder = _placeholder_of(source)
    if placeholder is None:
        return ""
    match = _path_pattern(source).fullmatch(call.path)
    if match and placeholder.name.lower() in match.groupdict():
        return match[placeholder.name.lower()]
    query: dict[str, Any] = dict(parse_qsl(urlsplit(call.target).query, keep_blank_values=True))
    headers: dict[str, Any] = dict(call.headers)
    for template, fields in (
        (source.query, query),
        (source.body, _body_fields(call, source)),
        (source.headers, headers),
    ):
        value = _find_filled(template, fields, placeholder)
        if value is not None:
            return str(value)
    return ""


def position_after(source: Source, pages: Sequence[Page]) -> str | int | None:
    """Return what a call would send to ask for the page after the last one; None if that is not known."""
    last = pages[-1]
    if isinstance(source, Feed):
        return next(iter(texts_at(last.document, source.cursor)), None)
    match _paging_of(source):
        case PageNumberPaging(first=first):
            return int(last.position or first) + 1
        case OffsetPaging(identity=identity):
            counts = [sum(1 for _ in shape.records_of(source, page.document)) for page in pages]
            return sum(counts) - (len(pages) - 1 if identity else 0)
        case TokenPaging(path):
            return next((token for token in texts_at(last.document, path) if token), None)
    return None


def with_position(call: Call, source: Source, position: str | int) -> Call | None:
    """Return a call that asks for another page; None if the declaration does not say how."""
    placeholder = _placeholder_of(source)
    if placeholder in source.query.values():
        names = [name for name, value in source.query.items() if value is placeholder]
        parts = urlsplit(call.target)
        query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in names]
        query += [(name, str(position)) for name in names]
        return replace(call, target=f"{parts.path}?{urlencode(query)}")
    fields = _body_fields(call, source)
    if not fields or not _set_filled(source.body, fields, placeholder, position):
        return None
    body = urlencode(fields).encode() if source.encoding is Encoding.FORM else shape.encode(fields)
    return replace(call, body=body)


def next_target(source: Source, page: Page) -> str:
    """Return path and query of the link to the next page; empty if there is none."""
    match _paging_of(source):
        case NextLink(path):
            link = next(iter(texts_at(page.document, path)), "")
        case LinkHeader(rel):
            link = find_link({"Link": page.link}, rel)
        case _:
            return ""
    parts = urlsplit(urljoin(ORIGIN + source.path, link))
    return f"{parts.path}?{parts.query}" if link and parts.query else parts.path if link else ""


def is_at(call: Call, target: str) -> bool:
    """Return whether a call follows a link, perhaps with an API key behind it."""
    return call.target == target or call.target.startswith((f"{target}&", f"{target}?"))


def _paging_of(source: Source) -> Paging:
    return source.paging if isinstance(source, Listing) else OnePage()


def _placeholder_of(source: Source) -> Placeholder | None:
    """Return what stands in a request for the page that it asks for."""
    return Placeholder.CURSOR if isinstance(source, Feed) else _paging_of(source).placeholder


def _path_pattern(source: Source) -> re.Pattern[str]:
    """Return the pattern of its path, behind any path of the base URL."""
    parts = re.split(r"\{(\w+)\}", source.path)
    pattern = "".join(f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile(f".*{pattern}")


def _body_fields(call: Call, source: Source) -> dict[str, Any]:
    if not call.body:
        return {}
    if source.encoding is Encoding.FORM:
        return dict(parse_qsl(call.body.decode(errors="replace"), keep_blank_values=True))
    try:
        document = shape.decode(call.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _find_filled(template: Mapping[str, object], fields: Mapping[str, Any], wanted: Placeholder) -> object:
    """Return what a request has in the place of a placeholder."""
    for name, value in template.items():
        filled = fields.get(name, fields.get(name.lower()))
        is_text = isinstance(value, Text) and wanted in value.placeholders
        if value is wanted or is_text or (isinstance(value, Day) and value.placeholder is wanted):
            return filled
        if isinstance(value, Mapping) and isinstance(filled, dict):
            found = _find_filled(value, filled, wanted)
            if found is not None:
                return found
    return None


def _set_filled(
    template: Mapping[str, object], fields: dict[str, Any], wanted: Placeholder | None, value: object
) -> bool:
    """Fill the place of a placeholder, and return whether there is one."""
    for name, part in template.items():
        if part is wanted:
            fields[name] = value
            return True
        if isinstance(part, Mapping) and _set_filled(part, fields.setdefault(name, {}), wanted, value):
            return True
    return False


def _decode_basic(value: str) -> str:
    try:
        return b64decode(value.removeprefix("Basic ")).decode(errors="replace")
    except (ValueError, binascii.Error):
        return ""
