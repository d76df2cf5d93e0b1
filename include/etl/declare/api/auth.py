"""How a provider is told who asks: a token in a header, basic, an API key, OAuth 2, or a URL that holds a password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from etl.declare.api.request import (
    CLIENT_CREDENTIALS,
    LOGIN_CREDENTIALS,
    Placeholder,
    Request,
    Text,
    find_placeholders,
    require_header_name,
)
from etl.declare.validation import require_duration, require_field_path, require_type
from etl.errors import DeclarationError

RENEWAL_LEASE = timedelta(minutes=2)
"""Time for which one worker alone renews a token: two requests, for the next token and for a first, end in it."""

_BEARER = Text("Bearer {access_token}")


class Place(Enum):
    """Where an API key is sent."""

    HEADER = "header"
    QUERY = "query"


@dataclass(frozen=True)
class TokenHeader:
    """A header with the access token of the login.

    Parameters
    ----------
    text
        Its text.
    header
        Its name.
    """

    text: Text = _BEARER
    header: str = "Authorization"

    def __post_init__(self) -> None:
        require_type("TokenHeader", "text", self.text, Text)
        _require_header("TokenHeader", self.header)
        _require_token("TokenHeader", self.text)


@dataclass(frozen=True)
class BasicAuth:
    """HTTP basic authentication (RFC 7617).

    Parameters
    ----------
    username, password
        By default client id and secret of the connection; `Placeholder.ACCESS_TOKEN` for the token of the login.
    """

    username: Placeholder | Text = Placeholder.CLIENT_ID
    password: Placeholder | Text = Placeholder.CLIENT_SECRET

    def __post_init__(self) -> None:
        for name in ("username", "password"):
            require_type("BasicAuth", name, getattr(self, name), Placeholder, Text)
            _require_credentials("BasicAuth", name, getattr(self, name))


@dataclass(frozen=True)
class ApiKey:
    """A key in a header or in the query.

    Parameters
    ----------
    name
        Name of the header, or of the parameter.
    place
        Where it is sent.
    value
        The key: by default the client secret of the connection.
    """

    name: str
    place: Place = Place.HEADER
    value: Placeholder | Text = Placeholder.CLIENT_SECRET

    def __post_init__(self) -> None:
        require_type("ApiKey", "name", self.name, str)
        require_type("ApiKey", "place", self.place, Place)
        require_type("ApiKey", "value", self.value, Placeholder, Text)
        _require_credentials("ApiKey", "value", self.value)
        if self.name and self.place is Place.HEADER:
            require_header_name("ApiKey", "name", self.name)
        if not self.name:
            raise DeclarationError("ApiKey: name is empty; write that of the header or of the parameter")


@dataclass(frozen=True, kw_only=True)
class TokenRequest(Request):
    """A request for a token.

    Parameters
    ----------
    access_token
        Path of the access token in the response.
    expires_in
        Path of the seconds for which it is valid; None if the response does not say.
    lifetime
        How long it is valid where the response does not say.
    refresh_token
        Path of a refresh token; None if there is none. A response without it leaves the stored one valid.
    """

    access_token: str
    expires_in: str | None = None
    lifetime: timedelta = timedelta(minutes=5)
    refresh_token: str | None = None

    def __post_init__(self) -> None:
        where = f"token request {self.path}"
        self.check_request(where, {Placeholder.REFRESH_TOKEN, Placeholder.ITEM_ID}, "a token request")
        require_duration(where, "lifetime", self.lifetime)
        for name in ("access_token", "expires_in", "refresh_token"):
            if (path := getattr(self, name)) is not None:
                require_field_path(where, name, path)


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """OAuth 2: one token of the client for all logins, kept encrypted in the warehouse and shared by all workers.

    Parameters
    ----------
    token
        How to get a token, with client id and secret.
    refresh
        How to get the next one with a refresh token; None to get each as the first.
    text, header
        Text and name of the header that holds the token.
    """

    token: TokenRequest
    refresh: TokenRequest | None = None
    text: Text = _BEARER
    header: str = "Authorization"

    def __post_init__(self) -> None:
        where = "ClientCredentials"
        require_type(where, "token", self.token, TokenRequest)
        require_type(where, "refresh", self.refresh, TokenRequest, type(None))
        _require_header(where, self.header)
        _require_token(where, self.text)
        if Placeholder.REFRESH_TOKEN in self.token.placeholders:
            raise DeclarationError(
                f"{where}: token has Placeholder.REFRESH_TOKEN, before there is one; move it to refresh"
            )
        if Placeholder.ITEM_ID in self.token.placeholders:
            raise DeclarationError(
                f"{where}: token has Placeholder.ITEM_ID, but it is the token of all logins; remove it"
            )
        if self.refresh is not None:
            _require_refresh_token(f"{where}: refresh", self.refresh)
            if self.token.refresh_token is None:
                raise DeclarationError(
                    f"{where}: refresh is declared, but token names no refresh_token; write its path in the response"
                )


@dataclass(frozen=True, kw_only=True)
class RefreshToken:
    """OAuth 2: a refresh token of each login, which gets access tokens, and may be replaced whenever it is used.

    The stored token of a login is its refresh token; a new one is stored, encrypted, before the access token is used.

    Parameters
    ----------
    token
        How to get an access token.
    text, header
        Text and name of the header that holds the access token.
    """

    token: TokenRequest
    text: Text = _BEARER
    header: str = "Authorization"

    def __post_init__(self) -> None:
        require_type("RefreshToken", "token", self.token, TokenRequest)
        _require_header("RefreshToken", self.header)
        _require_token("RefreshToken", self.text)
        _require_refresh_token("RefreshToken: token", self.token)


@dataclass(frozen=True)
class AccessUrl:
    """The token of a login is a URL with user name and password.

    Requests go to this URL, with basic authentication. It must be on the host of the provider's connection, so that a
    stored text can never send requests elsewhere.
    """


Auth = TokenHeader | BasicAuth | ApiKey | ClientCredentials | RefreshToken | AccessUrl
AUTH_TYPES = (TokenHeader, BasicAuth, ApiKey, ClientCredentials, RefreshToken, AccessUrl)


def header_of(auth: Auth | None) -> str | None:
    """Return the header that tells who asks; None if none does."""
    match auth:
        case TokenHeader() | ClientCredentials() | RefreshToken():
            return auth.header
        case ApiKey(place=Place.HEADER):
            return auth.name
        case BasicAuth() | AccessUrl():
            return "Authorization"
    return None


def _require_header(where: str, name: object) -> None:
    require_type(where, "header", name, str)
    require_header_name(where, "header", str(name))


def _require_credentials(where: str, field: str, value: Placeholder | Text) -> None:
    """Refuse placeholders that differ from page to page, which say nothing about who asks."""
    for placeholder in find_placeholders({field: value}) - CLIENT_CREDENTIALS - LOGIN_CREDENTIALS:
        names = ", ".join(sorted(each.name for each in CLIENT_CREDENTIALS | LOGIN_CREDENTIALS))
        raise DeclarationError(
            f"{where}: {field} has Placeholder.{placeholder.name}, which does not tell who asks; write one of {names}"
        )


def _require_token(where: str, text: Text) -> None:
    require_type(where, "text", text, Text)
    _require_credentials(where, "text", text)
    if not find_placeholders({"text": text}) & LOGIN_CREDENTIALS:
        raise DeclarationError(
            f"{where}: text is {text.template!r}, without a token; write such as 'Bearer {{access_token}}'"
        )


def _require_refresh_token(where: str, request: TokenRequest) -> None:
    if Placeholder.REFRESH_TOKEN not in request.placeholders:
        raise DeclarationError(f"{where} has no Placeholder.REFRESH_TOKEN, so that it is no refresh; add it")
