"""Requests to a provider: method, path, query, body and headers, with placeholders for what differs between calls."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from reprlib import repr as shortened

from etl.declare.validation import require_type
from etl.errors import DeclarationError


class Placeholder(Enum):
    """A place in a request that is filled for each provider account and page."""

    CLIENT_ID = "client id"
    CLIENT_SECRET = "client secret"  # noqa: S105 - the name of a place, not a secret
    ACCESS_TOKEN = "access token"  # noqa: S105 - likewise
    REFRESH_TOKEN = "refresh token"  # noqa: S105 - likewise
    PUBLIC_TOKEN = "public token"  # noqa: S105 - likewise
    ITEM_ID = "item id"
    """The provider's id of the login."""
    CONSENT_ID = "consent id"
    CURSOR = "cursor"
    PAGE_TOKEN = "page token"  # noqa: S105 - likewise
    PAGE_NUMBER = "page number"
    OFFSET = "offset"
    PAGE_SIZE = "page size"
    FIRST_DAY = "first day"
    LAST_DAY = "last day"
    DAY_AFTER_LAST = "day after last"
    """For providers whose ranges do not contain their end."""


DAYS = frozenset({Placeholder.FIRST_DAY, Placeholder.LAST_DAY, Placeholder.DAY_AFTER_LAST})
"""Placeholders that stand for a day."""

CLIENT_CREDENTIALS = frozenset({Placeholder.CLIENT_ID, Placeholder.CLIENT_SECRET})
"""Placeholders that the provider's connection fills, in every request."""

LOGIN_CREDENTIALS = frozenset({Placeholder.ACCESS_TOKEN, Placeholder.ITEM_ID})
"""Placeholders that the provider account fills, in every request about one."""

_BY_NAME = {placeholder.name.lower(): placeholder for placeholder in Placeholder}
_PLACE = re.compile(r"\{([^{}]*)\}")
_PATH = re.compile(r"/([\w\-.~!$&'()*+,;=:@%{}]+/?)*", re.ASCII)
_HEADER = re.compile(r"[\w!#$%&'*+\-.^`|~]+", re.ASCII)
"""Source: RFC 9110, 5.6.2, "Tokens"."""
_DIRECTIVE = re.compile(r"%.")
_DAY_DIRECTIVES = frozenset({"%d", "%m", "%Y", "%y", "%j", "%%"})


class Epoch(Enum):
    """A point in time as a number: the time since 1970-01-01T00:00:00Z."""

    SECONDS = "s"
    MILLISECONDS = "ms"


class Method(Enum):
    """Method of an HTTP request."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"


class Encoding(Enum):
    """How the body of a request is written."""

    JSON = "application/json"
    FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Text:
    """A text with placeholders, such as `Text("Bearer {access_token}")`; left out if one of them has no value.

    Parameters
    ----------
    template
        The text; `{access_token}` stands for `Placeholder.ACCESS_TOKEN`.
    """

    template: str

    def __post_init__(self) -> None:
        require_type("Text", "template", self.template, str)
        find_places("Text", "template", self.template)

    @property
    def placeholders(self) -> frozenset[Placeholder]:
        """Its placeholders."""
        return find_places("Text", "template", self.template)


@dataclass(frozen=True)
class Day:
    """A day in another form than `2026-11-30`.

    Parameters
    ----------
    placeholder
        Which day.
    form
        Its form: directives of `strftime` such as `%d.%m.%Y`, or the start of the day, in UTC, as an `Epoch`.
    """

    placeholder: Placeholder
    form: str | Epoch

    def __post_init__(self) -> None:
        require_type("Day", "placeholder", self.placeholder, Placeholder)
        require_type("Day", "form", self.form, str, Epoch)
        if self.placeholder not in DAYS:
            raise DeclarationError(
                f"Day: its placeholder is {self.placeholder.name}, which is no day; write "
                f"{' or '.join(sorted(day.name for day in DAYS))}"
            )
        if isinstance(self.form, str) and not set(_DIRECTIVE.findall(self.form)) & _DAY_DIRECTIVES:
            raise DeclarationError(f"Day: form is {self.form!r}, which names no day; write such as '%d.%m.%Y'")


Template = Mapping[str, object]
"""Field → constant, `Placeholder`, `Text`, `Day`, or a further template."""


def no_fields() -> Template:
    """Return an empty template."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to a provider.

    Parameters
    ----------
    path
        Path below the provider's base URL; `{item_id}` and other placeholders are filled and percent-encoded.
    method
        Its method; None for GET, or POST if there is a body.
    query
        Parameters after the `?`. As in `body` and `headers`, a value may be a constant, a `Placeholder`, a `Text` or a
        `Day`; a field whose placeholder has no value, such as the first cursor, is left out.
    body
        Fields of the body.
    encoding
        How the body is written.
    headers
        Headers of this request, besides those of the provider.
    """

    path: str
    method: Method | None = None
    query: Template = field(default_factory=no_fields)
    body: Template = field(default_factory=no_fields)
    encoding: Encoding = Encoding.JSON
    headers: Template = field(default_factory=no_fields)

    @property
    def verb(self) -> Method:
        """Its method, by default that which suits its body."""
        return self.method or (Method.POST if self.body else Method.GET)

    @property
    def placeholders(self) -> frozenset[Placeholder]:
        """All placeholders that it has."""
        parts = (self.query, self.body, self.headers)
        return frozenset().union(Text(self.path).placeholders, *(find_placeholders(part) for part in parts))

    def check_request(self, where: str, available: Collection[Placeholder], filled_by: str) -> None:
        """Refuse fields of a wrong type, and placeholders that are never filled.

        Parameters
        ----------
        where
            The declaration.
        available
            Placeholders that are filled.
        filled_by
            What fills them, such as `a Snapshot`.
        """
        require_type(where, "path", self.path, str)
        require_type(where, "method", self.method, Method, type(None))
        require_type(where, "encoding", self.encoding, Encoding)
        require_template(where, "query", self.query)
        require_template(where, "body", self.body, may_nest=self.encoding is Encoding.JSON)
        require_template(where, "headers", self.headers)
        for header in self.headers:
            require_header_name(where, "headers", header)
        if not self.path.startswith("/"):
            raise DeclarationError(f"{where}: path is {self.path!r}; it must begin with '/'")
        if "?" in self.path or "#" in self.path:
            raise DeclarationError(f"{where}: path is {self.path!r}; move what follows the '?' to query")
        if not _PATH.fullmatch(self.path) or {".", ".."} & set(self.path.split("/")):
            raise DeclarationError(
                f"{where}: path is {self.path!r}; write the parts of a URL between single '/', percent-encoded"
            )
        in_path = find_places(where, "path", self.path)
        for placeholder in sorted(self.placeholders - set(available) - CLIENT_CREDENTIALS, key=lambda each: each.name):
            raise DeclarationError(
                f"{where}: its request has Placeholder.{placeholder.name}, which {filled_by} never fills; remove it"
            )
        for placeholder in in_path & {Placeholder.CURSOR, Placeholder.PAGE_TOKEN}:
            raise DeclarationError(
                f"{where}: path has {{{placeholder.name.lower()}}}, which the first request does not have; "
                "move it to query or body"
            )
        if self.method is Method.GET and self.body:
            raise DeclarationError(f"{where}: it is a GET with a body, which servers ignore; move its fields to query")


def require_template(where: str, field_name: str, template: object, *, may_nest: bool = False) -> None:
    """Refuse a template with values that cannot be sent, or with a placeholder that would be sent as it is written.

    Parameters
    ----------
    may_nest
        Whether it may have objects and lists, as JSON has; else it is flat.
    """
    require_type(where, field_name, template, Mapping)
    for name, value in template.items() if isinstance(template, Mapping) else ():
        require_type(where, f"a name in {field_name}", name, str)
        _require_value(where, f"{field_name}[{name!r}]", value, may_nest=may_nest)


def require_header_name(where: str, field_name: str, name: str) -> None:
    """Refuse what cannot be the name of a header."""
    if not _HEADER.fullmatch(name):
        raise DeclarationError(
            f"{where}: {field_name} has {name!r}, which is no name of a header; write such as 'X-Api-Key'"
        )


def _require_value(where: str, place: str, value: object, *, may_nest: bool, is_item: bool = False) -> None:
    match value:
        case Mapping() if may_nest:
            require_template(where, place, value, may_nest=True)
        case list() | tuple() if may_nest:
            for item in value:
                _require_value(where, f"an item of {place}", item, may_nest=True, is_item=True)
        case Placeholder() | Text() | Day() if not is_item:
            return
        case str():
            if names := [name for name in _PLACE.findall(value) if name in _BY_NAME]:
                raise DeclarationError(
                    f"{where}: {place} is the constant {value!r}, in which {{{names[0]}}} is not filled; write "
                    f"Text({value!r})"
                )
            if any(ord(character) < ord(" ") for character in value) and not may_nest:
                raise DeclarationError(f"{where}: {place} is {value!r}, with a control character; remove it")
        case bool() | int():
            return
        case float() if isfinite(value):
            return
        case Mapping() | list() | tuple():
            raise DeclarationError(f"{where}: {place} is nested; only a JSON body is, so write it flat")
        case _:
            where_allowed = " outside lists" if is_item else ""
            raise DeclarationError(
                f"{where}: {place} is {shortened(value)} ({type(value).__name__}); write a text, a number, a bool, or "
                f"a Placeholder, Text or Day{where_allowed}"
            )


def find_placeholders(template: Template) -> frozenset[Placeholder]:
    """Return the placeholders of a template."""
    return frozenset(_placeholders_of(template))


def find_places(where: str, field_name: str, text: str) -> frozenset[Placeholder]:
    """Return the placeholders that a text names in braces.

    Raises
    ------
    DeclarationError
        If there is no such placeholder.
    """
    for name in _PLACE.findall(text):
        if name not in _BY_NAME:
            raise DeclarationError(
                f"{where}: {field_name} has {{{name}}}, which is no placeholder; write one of {', '.join(_BY_NAME)}"
            )
    if "{" in _PLACE.sub("", text) or "}" in _PLACE.sub("", text):
        raise DeclarationError(f"{where}: {field_name} is {text!r}, with a single brace; write such as '{{item_id}}'")
    return frozenset(_BY_NAME[name] for name in _PLACE.findall(text))


def _placeholders_of(value: object) -> Iterator[Placeholder]:
    match value:
        case Placeholder():
            yield value
        case Day():
            yield value.placeholder
        case Text():
            yield from value.placeholders
        case Mapping():
            for part in value.values():
                yield from _placeholders_of(part)
