"""Providers of records: connection, requests, rate limits, and what to do about each error response."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from etl.declare.validation import require_count, require_duration, require_identifier, require_tuple, require_type
from etl.errors import DeclarationError


class Placeholder(Enum):
    """A place in a request that is filled for each provider account and page."""

    CLIENT_ID = "client id"
    CLIENT_SECRET = "client secret"  # noqa: S105 - the name of a place, not a secret
    ACCESS_TOKEN = "access token"  # noqa: S105 - likewise
    PUBLIC_TOKEN = "public token"  # noqa: S105 - likewise
    CURSOR = "cursor"
    FIRST_DAY = "first day"
    LAST_DAY = "last day"
    OFFSET = "offset"
    PAGE_SIZE = "page size"


class ErrorAction(Enum):
    """What to do about an error response."""

    RETRY = "retry"
    """Request the same page again, after a wait."""
    RESTART_FEED = "restart_feed"
    """Discard the account's pages and start again from the cursor at which this download started."""
    REREAD_FEED = "reread_feed"
    """The provider no longer knows the cursor that was sent: read the feed from its beginning. The response to a
    request without a cursor does not match such a rule."""
    STOP_ACCOUNT = "stop_account"
    """Skip the account until its user has fixed it; the others are not affected."""
    NOT_READY = "not_ready"
    """The provider does not have the records yet; skip the account in this run."""


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


@dataclass(frozen=True)
class ErrorRule:
    """What to do about an error response that matches every field that is given.

    Parameters
    ----------
    action
        What to do.
    status
        HTTP status.
    error_type, error_code
        Fields of the provider's error body.
    remedy
        What a person can do where many logins get such a response at once, as whole sentences; empty if unknown.
    """

    action: ErrorAction
    status: int | None = None
    error_type: str | None = None
    error_code: str | None = None
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.status is None and self.error_type is None and self.error_code is None:
            raise DeclarationError(f"error rule {self.action.value}: it would match every error; name what it matches")


@dataclass(frozen=True)
class InstitutionLookup:
    """How to ask at which bank a login is.

    Parameters
    ----------
    path
        Path of the endpoint; the request is a JSON POST.
    request
        Body of the request, with `Placeholder.ACCESS_TOKEN`.
    institution_id, institution_name
        Paths of these fields in the response, such as `item.institution_id`.
    """

    path: str
    request: Mapping[str, object]
    institution_id: str
    institution_name: str


@dataclass(frozen=True)
class Unlinking:
    """How to give up the access to a login.

    Parameters
    ----------
    path
        Path of the endpoint; the request is a JSON POST.
    request
        Body of the request, with `Placeholder.ACCESS_TOKEN`.
    gone_codes
        Error codes that say that there is no access to give up any more.
    """

    path: str
    request: Mapping[str, object]
    gone_codes: tuple[str, ...]

    def __post_init__(self) -> None:
        require_tuple(f"unlinking by {self.path}", "gone_codes", self.gone_codes, str)


@dataclass(frozen=True)
class Enrolment:
    """How a public token becomes the access token of a new provider account.

    Parameters
    ----------
    path
        Path of the endpoint; the request is a JSON POST.
    request
        Body of the request, with `Placeholder.PUBLIC_TOKEN`.
    access_token, item_id
        Fields of the response.
    institution
        How to ask for the bank of the new provider account; None if the provider does not tell.
    """

    path: str
    request: Mapping[str, object]
    access_token: str
    item_id: str
    institution: InstitutionLookup | None = None


@dataclass(frozen=True)
class Provider:
    """A financial-data provider.

    Parameters
    ----------
    name
        Name of the provider, as in `core.provider_accounts`.
    connection
        Airflow connection that holds its address (host), client id (login) and client secret (password).
    headers
        Headers of every request.
    enrolment
        How provider accounts are enrolled.
    errors
        Rules for error responses; the first that matches applies.
        A response that none matches is a permanent error, except 5xx, 429 and broken connections, which are retried.
    timeout
        Maximum duration of one request.
    concurrency
        Maximum number of concurrent requests in one task.
    retries
        Maximum number of retries of one request.
    unlinking
        How the access to a login is given up; None if that is not possible.
    """

    name: str
    connection: str
    headers: Mapping[str, str | Placeholder]
    enrolment: Enrolment
    errors: tuple[ErrorRule, ...]
    timeout: timedelta = timedelta(seconds=30)
    concurrency: int = 16
    retries: int = 4
    unlinking: Unlinking | None = None

    def __post_init__(self) -> None:
        where = f"provider {self.name}"
        require_identifier(where, "name", self.name)
        require_type(where, "connection", self.connection, str)
        require_tuple(where, "errors", self.errors, ErrorRule)
        require_duration(where, "timeout", self.timeout)
        require_count(where, "concurrency", self.concurrency, minimum=1)
        require_count(where, "retries", self.retries, minimum=0)

    def remedy(self, error_code: str) -> str:
        """Return what to do where many logins stop for an error code; empty if nothing is declared.

        The rule for this code applies, else the first remedy of a rule that stops logins for more than one code.
        """
        stopping = [rule for rule in self.errors if rule.action is ErrorAction.STOP_ACCOUNT and rule.remedy]
        specific = [rule.remedy for rule in stopping if rule.error_code == error_code]
        general = [rule.remedy for rule in stopping if rule.error_code is None]
        return next(iter((*specific, *general)), "")
