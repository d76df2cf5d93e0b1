"""Requests as they are sent: templates filled with the values of one login and page."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from urllib.parse import quote, unquote_plus, urlencode, urlsplit, urlunsplit

import msgspec
from yarl import URL

from etl.declare.api.auth import ApiKey, Auth, Place
from etl.declare.api.request import (
    CLIENT_CREDENTIALS,
    LOGIN_CREDENTIALS,
    Day,
    Encoding,
    Epoch,
    Placeholder,
    Request,
    Text,
    find_placeholders,
)
from etl.errors import SluiceError

Values = Mapping[Placeholder, object]
"""What placeholders stand for: text, numbers and dates."""

_PLACE = re.compile(r"\{(\w+)\}")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SECRETS = CLIENT_CREDENTIALS | {Placeholder.ACCESS_TOKEN}


class PlaceUnfilled(SluiceError):
    """A placeholder in the path of a request has no value."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(f"{path}: {{{name}}} has no value for this login; link it with its id (`--item-id`)")


class HeaderUnusable(SluiceError):
    """A header of a request would have a character that HTTP cannot send; its text may be a secret, and is not shown.

    Parameters
    ----------
    path, name
        Path of the request, and name of the header.
    is_of_login
        Whether the character is in what was stored of the login.
    """

    def __init__(self, path: str, name: str, *, is_of_login: bool) -> None:
        super().__init__(f"{path}: the header {name} would have a line break or another control character")
        self.is_of_login = is_of_login


@dataclass(frozen=True)
class HttpRequest:
    """A request without the address of the server.

    Parameters
    ----------
    method, path
        Its method, and the path with the query, both percent-encoded.
    headers
        Its headers.
    body
        Its body; None if it has none.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


def fill_template(template: Mapping[str, object], values: Values) -> dict[str, object]:
    """Return a template with its placeholders filled; omit fields whose value is missing or empty."""
    filled = {name: fill_value(value, values) for name, value in template.items()}
    return {name: value for name, value in filled.items() if value is not None}


def fill_value(value: object, values: Values) -> object:
    """Return a value of a template with its placeholders filled; None if one is missing or empty."""
    match value:
        case Mapping():
            return fill_template(value, values)
        case Placeholder():
            found = values.get(value)
            return found.isoformat() if isinstance(found, date) else found if found == 0 or found else None
        case Day():
            day = values.get(value.placeholder)
            return _format_day(day, value.form) if isinstance(day, date) else None
        case Text():
            texts = {place.name.lower(): fill_value(place, values) for place in value.placeholders}
            if None in texts.values():
                return None
            return _PLACE.sub(lambda match: str(texts[match[1]]), value.template)
    return value


def build_request(request: Request, values: Values, *, headers: Mapping[str, str]) -> HttpRequest:
    """Return a request as it is sent.

    Parameters
    ----------
    headers
        Headers that every request has.

    Raises
    ------
    PlaceUnfilled
        If a placeholder in its path has no value.
    """
    query = _flat(fill_template(request.query, values))
    own_headers = _flat(fill_template(request.headers, values))
    body = fill_template(request.body, values)
    content: bytes | None = None
    content_type: dict[str, str] = {}
    if request.body or request.verb.value == "POST":
        content = (
            msgspec.json.encode(body) if request.encoding is Encoding.JSON else urlencode(_flat(body)).encode("ascii")
        )
        content_type = {"Content-Type": request.encoding.value}
    path = fill_path(request, values) + (f"?{urlencode(query)}" if query else "")
    all_headers = {**headers, **content_type, **own_headers}
    for name in (name for name, text in all_headers.items() if not is_sendable(text)):
        of_login = (str(values.get(each, "")) for each in (*LOGIN_CREDENTIALS, Placeholder.REFRESH_TOKEN))
        raise HeaderUnusable(request.path, name, is_of_login=not all(map(is_sendable, of_login)))
    return HttpRequest(request.verb.value, path, all_headers, content)


def is_sendable(text: str) -> bool:
    """Return whether a header can hold a text."""
    return not _CONTROL.search(text)


def secret_parameters(request: Request, auth: Auth | None) -> frozenset[str]:
    """Return the names of the parameters of a query that hold credentials."""
    own = {name for name, value in request.query.items() if find_placeholders({name: value}) & _SECRETS}
    return frozenset(own | ({auth.name} if isinstance(auth, ApiKey) and auth.place is Place.QUERY else set()))


def fill_secrets(request: Request, values: Values) -> dict[str, str]:
    """Return the parameters of a request's own query that hold credentials, which a link to its next page lacks."""
    secrets = secret_parameters(request, None)
    return _flat(fill_template({name: value for name, value in request.query.items() if name in secrets}, values))


def clean_link(link: str, secrets: Collection[str]) -> str:
    """Return a link as it may be kept: without the parameters that hold secrets, a user with a password, or a fragment.

    A provider may repeat the whole query of a request in the link to the next page.

    Raises
    ------
    ValueError
        If it is no URL; its text is not shown.
    """
    parts = urlsplit(link)
    query = "&".join(each for each in parts.query.split("&") if unquote_plus(each.partition("=")[0]) not in secrets)
    cleaned = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))
    if link and not cleaned:
        raise ValueError("a link without anything that differs from page to page")
    URL(cleaned)
    return cleaned


def fill_path(request: Request, values: Values) -> str:
    """Return the path of a request, percent-encoded."""

    def encoded(match: re.Match[str]) -> str:
        value = fill_value(Placeholder[match[1].upper()], values)
        if value is None:
            raise PlaceUnfilled(request.path, match[1])
        return quote(str(value), safe="")

    return _PLACE.sub(encoded, request.path)


def describe_request(request: Request, values: Values) -> dict[str, object]:
    """Return the fields of query and body, for the header of a page; `values` must have no secrets."""
    return {**fill_template(request.query, values), **fill_template(request.body, values)}


def _flat(fields: Mapping[str, object]) -> dict[str, str]:
    """Return fields as text, as a query or a form has them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()}


def _format_day(day: date, form: str | Epoch) -> object:
    if isinstance(form, str):
        return day.strftime(form)
    seconds = int(datetime.combine(day, time(), UTC).timestamp())
    return seconds * 1000 if form is Epoch.MILLISECONDS else seconds
