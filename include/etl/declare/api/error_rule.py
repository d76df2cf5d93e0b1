"""What to do about an error response, and about an error inside a regular one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from etl.declare.api.part import Part
from etl.declare.validation import require_type, require_values_path
from etl.errors import DeclarationError

_SUCCESS = range(200, 300)
_STATUSES = range(200, 600)


class ErrorAction(Enum):
    """What to do about an error response."""

    RETRY = "retry"
    """Request the same page again, after a wait."""
    NO_CALLS_LEFT = "no_calls_left"
    """The provider allows no more calls for now: keep the account's pages, continue in a later run, and be late."""
    RESTART_FEED = "restart_feed"
    """Discard the account's pages and start again from the cursor at which this download started."""
    REREAD_FEED = "reread_feed"
    """The provider no longer knows the cursor that was sent: read the feed from its beginning. The response to a
    request without a cursor does not match such a rule."""
    STOP_ACCOUNT = "stop_account"
    """Skip the account until its user has fixed it; the others are not affected."""
    NOT_READY = "not_ready"
    """The provider does not have the records yet; skip the account in this run."""
    INCOMPLETE = "incomplete"
    """The response lacks records of the login, or of a part of it: load it, end no row of this part, and report it."""


@dataclass(frozen=True)
class ErrorRule:
    """What to do about a response that matches everything that is given.

    Parameters
    ----------
    action
        What to do.
    code
        Value of a field of the body, which may have `*` for any characters; None for any.
    field
        Path of this field, such as `error.code`, or `errors[].code` for any item of a list; empty for the provider's
        `error_code`.
    status
        HTTP status. A rule for a status of success, such as 200, finds errors inside regular responses; every other
        rule applies to error responses only.
    remedy
        What a person can do where many logins get such a response at once, as whole sentences; empty if unknown.
    part
        Of an incomplete response: which rows of the login it is about; None for all of them.
    detail
        Of an incomplete response: field beside the code with a text for people; empty if there is none.
    """

    action: ErrorAction
    code: str | None = None
    field: str = ""
    status: int | None = None
    remedy: str = ""
    part: Part | None = None
    detail: str = ""

    def __post_init__(self) -> None:
        require_type("error rule", "action", self.action, ErrorAction)
        where = f"error rule {self.action.value}"
        require_type(where, "code", self.code, str, type(None))
        require_type(where, "status", self.status, int, type(None))
        if self.status is not None and self.status not in _STATUSES:
            raise DeclarationError(f"{where}: status is {self.status}; write one of HTTP, from 200 to 599")
        if self.code == "":
            raise DeclarationError(f"{where}: code is empty; write a code, or '*' for any")
        if self.status is None and self.code is None:
            raise DeclarationError(f"{where}: it would match every error; name what it matches")
        if self.field:
            require_values_path(where, "field", self.field)
        if self.code is None and (self.field or self.finds_errors_in_success):
            raise DeclarationError(f"{where}: it names no code, and would match every response of its status; add code")
        require_type(where, "part", self.part, Part, type(None))
        require_type(where, "detail", self.detail, str)
        is_incomplete = self.action is ErrorAction.INCOMPLETE
        if is_incomplete and not self.finds_errors_in_success:
            raise DeclarationError(f"{where}: an error response has no records at all; write the status, such as 200")
        if not is_incomplete and (self.part or self.detail):
            raise DeclarationError(f"{where}: part and detail are of incomplete responses; remove them")

    @property
    def finds_errors_in_success(self) -> bool:
        """Whether it applies to responses with a status of success."""
        return self.status in _SUCCESS
