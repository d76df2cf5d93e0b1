"""Providers of records: connection, requests, rate limits, and what to do about each error response."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from etl.declare.api.auth import (
    AUTH_TYPES,
    RENEWAL_LEASE,
    AccessUrl,
    Auth,
    ClientCredentials,
    RefreshToken,
    header_of,
)
from etl.declare.api.consent import ConsentLookup
from etl.declare.api.error_rule import ErrorAction, ErrorRule
from etl.declare.api.part import Part
from etl.declare.api.request import (
    LOGIN_CREDENTIALS,
    Placeholder,
    Request,
    Template,
    find_placeholders,
    no_fields,
    require_header_name,
    require_template,
)
from etl.declare.rules.error_rules import require_reachable
from etl.declare.validation import (
    require_count,
    require_duration,
    require_field_path,
    require_identifier,
    require_tuple,
    require_type,
    require_values_path,
)
from etl.errors import DeclarationError

__all__ = ["ConsentLookup", "ErrorAction", "ErrorRule", "Placeholder"]
"""Re-exported, so that a declaration imports from one module."""


class LimitScope(Enum):
    """Which calls a limit counts together."""

    CLIENT = "client"
    ACCOUNT = "account"


@dataclass(frozen=True)
class RateLimit:
    """At most `calls` in any span of `per`, counted over all workers.

    Parameters
    ----------
    scope
        Count all calls of the client, or those of each provider account.
    calls
        Number of calls allowed.
    per
        Time span in which they are allowed.
    burst
        Calls that may be made at once after a pause; the others are spaced evenly.
    """

    scope: LimitScope
    calls: int
    per: timedelta
    burst: int

    def __post_init__(self) -> None:
        require_type("limit", "scope", self.scope, LimitScope)
        require_count("limit", "calls", self.calls, minimum=1)
        require_count("limit", "burst", self.burst, minimum=0)
        require_type("limit", "per", self.per, timedelta)
        if not 1 <= self.burst < self.calls or self.per <= timedelta():
            raise DeclarationError(
                f"limit of {self.calls} calls in {self.per}, {self.burst} at once: "
                "the time must be positive, and the burst at least 1 and below the calls"
            )

    @property
    def emission_interval(self) -> timedelta:
        """Emission interval of the token bucket: `per / (calls - burst)`, so that burst + per / interval = calls."""
        return self.per / (self.calls - self.burst)


@dataclass(frozen=True, kw_only=True)
class InstitutionLookup(Request):
    """How to ask at which bank a login is.

    Parameters
    ----------
    institution_id, institution_name
        Paths of these fields in the response, such as `item.institution_id`; None for a name that it does not have.
    """

    institution_id: str
    institution_name: str | None = None

    def __post_init__(self) -> None:
        where = f"institution lookup by {self.path}"
        self.check_request(where, LOGIN_CREDENTIALS, "it")
        require_field_path(where, "institution_id", self.institution_id)
        if self.institution_name is not None:
            require_field_path(where, "institution_name", self.institution_name)


@dataclass(frozen=True, kw_only=True)
class Unlinking(Request):
    """How to give up the access to a login.

    Parameters
    ----------
    gone_codes
        Error codes that say that there is no access to give up any more.
    """

    gone_codes: tuple[str, ...]

    def __post_init__(self) -> None:
        where = f"unlinking by {self.path}"
        self.check_request(where, LOGIN_CREDENTIALS, "it")
        require_tuple(where, "gone_codes", self.gone_codes, str)


@dataclass(frozen=True, kw_only=True)
class Enrolment(Request):
    """How a public token becomes the logins that it stands for.

    Parameters
    ----------
    item_id
        Path of the login's id in the response; `accounts[]` or `accounts[].id` if there is a login for each item of a
        list.
    access_token
        Path of its access token; None if logins have no token of their own.
    expects
        Path of a field → its value if the login is ready, such as `{"status": "LN"}`; any other refuses the token.
    valid_days
        Path of the days for which the consent is valid, or how to ask for them; None if nothing tells. See `Consent`.
    institution
        How to ask for the bank of the new provider account; None if the provider does not tell.
    """

    item_id: str
    access_token: str | None = None
    expects: Mapping[str, str] = field(default_factory=dict)
    valid_days: str | ConsentLookup | None = None
    institution: InstitutionLookup | None = None

    def __post_init__(self) -> None:
        where = f"enrolment by {self.path}"
        self.check_request(where, {Placeholder.PUBLIC_TOKEN}, "an Enrolment")
        require_values_path(where, "item_id", self.item_id)
        require_type(where, "institution", self.institution, InstitutionLookup, type(None))
        if self.access_token is not None:
            require_field_path(where, "access_token", self.access_token)
        require_type(where, "valid_days", self.valid_days, str, ConsentLookup, type(None))
        if isinstance(self.valid_days, str):
            require_field_path(where, "valid_days", self.valid_days)
        require_type(where, "expects", self.expects, Mapping)
        for path, expected in self.expects.items():
            require_field_path(where, "expects", path)
            require_type(where, f"expects[{path!r}]", expected, str)
        if Placeholder.PUBLIC_TOKEN not in self.placeholders:
            raise DeclarationError(f"{where}: its request has no Placeholder.PUBLIC_TOKEN, so it enrols no one; add it")


@dataclass(frozen=True)
class AccessUrlClaim:
    """The public token is a URL in Base64; a POST to it returns the URL with the password by which the login is read.

    Both URLs must be on the host of the provider's connection.
    """

    institution: None = field(default=None, init=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Consent:
    """How long users consent, and when to tell that a consent is about to end.

    A login whose consent has ended needs a login; a report warns of those that are about to end. The end is stored in
    `core.provider_accounts.consent_expires_at`, so that a notice can tell the users.

    Parameters
    ----------
    lifetime
        For how long a consent is valid, unless the enrolment says so itself.
    foretold
        How long before its end it is told.
    """

    lifetime: timedelta
    foretold: timedelta = timedelta(days=7)

    def __post_init__(self) -> None:
        require_duration("consent", "lifetime", self.lifetime)
        require_duration("consent", "foretold", self.foretold)
        if self.foretold >= self.lifetime:
            raise DeclarationError(
                f"consent: foretold is {self.foretold}, not shorter than lifetime, {self.lifetime}, so that every "
                "consent would be about to end; shorten it"
            )


@dataclass(frozen=True)
class Provider:
    """A financial-data provider.

    Parameters
    ----------
    name
        Name of the provider, as in `core.provider_accounts`.
    connection
        Airflow connection that holds its address (host), client id (login) and client secret (password).
    auth
        How it is told who asks; None if `headers` and the requests themselves say it.
    headers
        Headers of every request.
    enrolment
        How a public token becomes logins; None if logins are linked by their access token only.
    errors
        Rules for error responses; the first that matches applies.
        A response that none matches is a permanent error, except 5xx, 429 and broken connections, which are retried.
    error_code
        Path of the error code in the body of an error response; it is stored and shown.
    wait_headers
        Headers of a response with HTTP 429 that have the seconds to wait before the next call, besides `Retry-After`.
    consent
        How long users consent; None if a consent does not end by itself.
    timeout
        Maximum duration of one request; at most a minute where tokens are renewed.
    concurrency
        Maximum number of concurrent requests in one task.
    retries
        Maximum number of retries of one request.
    unlinking
        How the access to a login is given up; None if that is not possible.
    """

    name: str
    connection: str
    headers: Template = field(default_factory=no_fields)
    enrolment: Enrolment | AccessUrlClaim | None = None
    errors: tuple[ErrorRule, ...] = ()
    timeout: timedelta = timedelta(seconds=30)
    concurrency: int = 16
    retries: int = 4
    unlinking: Unlinking | None = None
    auth: Auth | None = None
    error_code: str = "error_code"
    wait_headers: tuple[str, ...] = ()
    consent: Consent | None = None

    def __post_init__(self) -> None:
        where = f"provider {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "connection", self.connection, str)
        if not self.connection:
            raise DeclarationError(f"{where}: connection is empty; write the id of an Airflow connection")
        require_template(where, "headers", self.headers)
        require_type(where, "enrolment", self.enrolment, Enrolment, AccessUrlClaim, type(None))
        require_type(where, "unlinking", self.unlinking, Unlinking, type(None))
        require_type(where, "auth", self.auth, *AUTH_TYPES, type(None))
        require_type(where, "consent", self.consent, Consent, type(None))
        require_tuple(where, "errors", self.errors, ErrorRule)
        require_tuple(where, "wait_headers", self.wait_headers, str)
        require_values_path(where, "error_code", self.error_code)
        require_duration(where, "timeout", self.timeout)
        require_count(where, "concurrency", self.concurrency, minimum=1)
        require_count(where, "retries", self.retries, minimum=0)
        _check_headers(where, self)
        _check_tokens(where, self)
        require_reachable(where, self.errors)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Parts of a login of which a response may lack records, each once."""
        return tuple(dict.fromkeys(rule.part for rule in self.errors if rule.part is not None))

    def remedy(self, error_code: str) -> str:
        """Return what to do where many logins stop for an error code; empty if nothing is declared.

        The rule for this code, or for this status, applies, else the first remedy of a rule that stops logins for more
        than one code.
        """
        stopping = [rule for rule in self.errors if rule.action is ErrorAction.STOP_ACCOUNT and rule.remedy]
        specific = [
            rule.remedy
            for rule in stopping
            if (rule.code == error_code and not rule.field)
            or (rule.code is None and error_code == f"HTTP {rule.status}")
        ]
        general = [rule.remedy for rule in stopping if rule.code is None or rule.field]
        return next(iter((*specific, *general)), "")


def _check_headers(where: str, provider: Provider) -> None:
    fills = {Placeholder.CLIENT_ID, Placeholder.CLIENT_SECRET}
    for header in (*provider.headers, *provider.wait_headers):
        require_header_name(where, "headers", header)
        if header.lower() == (header_of(provider.auth) or "").lower():
            raise DeclarationError(f"{where}: headers has {header!r}, which auth sends, too; remove one of the two")
    for placeholder in sorted(find_placeholders(provider.headers) - fills, key=lambda each: each.name):
        raise DeclarationError(
            f"{where}: headers has Placeholder.{placeholder.name}, but they are the same for all logins; "
            "use auth=TokenHeader(…), or headers of the source"
        )


def _check_tokens(where: str, provider: Provider) -> None:
    """Refuse an enrolment that does not bring the token with which requests are authorised."""
    enrolment, auth = provider.enrolment, provider.auth
    if isinstance(enrolment, AccessUrlClaim) and not isinstance(auth, AccessUrl):
        raise DeclarationError(f"{where}: enrolment is an AccessUrlClaim, whose token is a URL; add auth=AccessUrl()")
    if isinstance(enrolment, Enrolment) and enrolment.access_token is None and _sends_login_token(auth):
        raise DeclarationError(
            f"{where}: enrolment names no access_token, but auth sends the token of each login; write its path in the "
            "response"
        )
    if isinstance(auth, ClientCredentials | RefreshToken) and 2 * provider.timeout > RENEWAL_LEASE:
        raise DeclarationError(
            f"{where}: timeout is {provider.timeout}, but a token is renewed by one worker alone for {RENEWAL_LEASE}, "
            f"in which two requests must end; write at most {RENEWAL_LEASE / 2}"
        )


def _sends_login_token(auth: Auth | None) -> bool:
    match auth:
        case None | ClientCredentials():
            return False
        case AccessUrl() | RefreshToken():
            return True
    return Placeholder.ACCESS_TOKEN in find_placeholders(vars(auth))
