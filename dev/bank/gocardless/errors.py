"""Errors of the Bank Account Data API, with GoCardless's texts and statuses.

Source: GoCardless, "Statuses and Error Codes" and the OpenAPI document of the Bank Account Data API, version 2.0, as
stored in `nip10/gocardless-open-banking`, `docs/spec.json`.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any


class GoCardlessError(Exception):
    """An error response.

    Parameters
    ----------
    status
        Its HTTP status.
    summary, detail
        Its texts.
    kind
        Its `type`; None for an error that has none.
    headers
        Its headers.
    """

    def __init__(
        self,
        status: int,
        summary: str,
        detail: str,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(summary)
        self.status = status
        self.body: dict[str, Any] = {"summary": summary, "detail": detail}
        if kind is not None:
            self.body["type"] = kind
        self.headers = dict(headers or {})


class FieldErrors(GoCardlessError):
    """Fields of a request are wrong.

    Parameters
    ----------
    fields
        Field → what is wrong with it.
    """

    def __init__(self, fields: Mapping[str, Any], *, status: int = 400) -> None:
        super().__init__(status, "", "")
        self.body = dict(fields)


def required(*names: str) -> FieldErrors:
    """Return the error of a request that lacks fields."""
    return FieldErrors({name: ["This field is required."] for name in names})


def unknown_fields(names: list[str], place: str) -> GoCardlessError:
    """Return the error of a request with fields that there are not."""
    return GoCardlessError(400, "Unknown fields", f"Unknown fields {{{', '.join(sorted(names))}}} in {{{place}}}")


def not_found(summary: str = "Not found.", detail: str = "Not found.") -> GoCardlessError:
    """Return the error of something that there is not."""
    return GoCardlessError(404, summary, detail)


def account_not_found(account_id: str) -> GoCardlessError:
    """Return the error of an account that the client has no access to."""
    return not_found(f"Account ID {account_id} not found", "Please check whether you specified a valid Account ID")


def invalid_token() -> GoCardlessError:
    """Return the error of a token that is not valid, or not any more."""
    return GoCardlessError(401, "Invalid token", "Token is invalid or expired")


def agreement_expired(agreement_id: str, *, days: int, expired_on: date) -> GoCardlessError:
    """Return the error of an account whose agreement has ended."""
    return GoCardlessError(
        401,
        f"End User Agreement (EUA) {agreement_id} has expired",
        f"EUA was valid for {days} days and it expired at {expired_on} 00:00:00+00:00. The end user must connect the "
        "account once more with new EUA and Requisition",
    )


def at_institution(scope: str, kind: str, detail: str, *, status: int) -> GoCardlessError:
    """Return an error of the bank behind an account, or of the access to it."""
    return GoCardlessError(status, f"Couldn't update account {scope}", detail, kind=kind)


def access_expired(scope: str) -> GoCardlessError:
    """Return the error of an account whose owner must log in at the bank again."""
    detail = "Access has expired or it has been revoked. To restore access reconnect the account."
    return at_institution(scope, "AccessExpiredError", detail, status=401)


def account_suspended() -> GoCardlessError:
    """Return the error of an account that GoCardless does not ask for any more."""
    return GoCardlessError(
        409,
        "Account suspended",
        "This account or its requisition was suspended due to numerous errors that occurred while accessing it.",
    )


def rate_limited(limit: str, seconds: int, headers: Mapping[str, str]) -> GoCardlessError:
    """Return the error of a request beyond a limit, such as `4/day`."""
    detail = f"The rate limit for this resource is {limit}. Please try again in {seconds} seconds"
    return GoCardlessError(429, "Rate limit exceeded", detail, headers=headers)
