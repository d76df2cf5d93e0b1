"""Errors that the bank returns, with Plaid's types, codes and messages.

ApiError
├── INVALID_REQUEST: InvalidBody, MissingFields, InvalidField, NotFound
├── INVALID_INPUT: InvalidApiKeys, InvalidPublicToken, InvalidAccessToken, InvalidAccountId, InvalidInstitution
├── ITEM_ERROR: ItemLoginRequired, ItemNotFound, PermissionRevoked, ProductNotReady
├── TRANSACTIONS_ERROR: MutationDuringPagination
├── RATE_LIMIT_EXCEEDED: RateLimitExceeded
└── API_ERROR: InternalServerError
"""

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar


class ErrorType(Enum):
    """Those of Plaid's error types that the bank uses."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_INPUT = "INVALID_INPUT"
    ITEM_ERROR = "ITEM_ERROR"
    TRANSACTIONS_ERROR = "TRANSACTIONS_ERROR"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    API_ERROR = "API_ERROR"


class ApiError(Exception):
    """An error response. Its text is Plaid's `error_message`."""

    error_type: ClassVar[ErrorType] = ErrorType.INVALID_REQUEST
    error_code: str
    status: ClassVar[int] = 400
    message: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        return {}


class InvalidBody(ApiError):
    """The body is too long, not a JSON object, or not sent as JSON."""

    error_code = "INVALID_BODY"
    message = "body could not be parsed as JSON"


class MissingFields(ApiError):
    """Required fields are absent."""

    error_code = "MISSING_FIELDS"

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(f"the following required fields are missing: {', '.join(names)}")


class InvalidField(ApiError):
    """A field has the wrong type or value."""

    error_code = "INVALID_FIELD"


class NotFound(ApiError):
    """There is no such route, or not for this method."""

    error_code = "NOT_FOUND"
    status = 404
    message = "not found"


class InvalidApiKeys(ApiError):
    """The client id or the secret is wrong."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_API_KEYS"
    message = "invalid client_id or secret provided"


class InvalidPublicToken(ApiError):
    """The bank did not issue the public token."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_PUBLIC_TOKEN"
    message = "could not find matching public token"


class InvalidAccessToken(ApiError):
    """The bank did not issue the access token."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_ACCESS_TOKEN"
    message = "could not find matching access token"


class InvalidAccountId(ApiError):
    """The item has no such account."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_ACCOUNT_ID"
    message = "failed to find requested account ID for requested item"


class InvalidInstitution(ApiError):
    """There is no such institution."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_INSTITUTION"
    message = "invalid institution_id provided"


class ItemLoginRequired(ApiError):
    """The item's owner must log in again."""

    error_type = ErrorType.ITEM_ERROR
    error_code = "ITEM_LOGIN_REQUIRED"
    message = (
        "the login details of this item have changed (credentials, MFA, or required user action) and a user login is "
        "required to update this information. use Link's update mode to restore the item to a good state"
    )


class ItemNotFound(ApiError):
    """The item was removed."""

    error_type = ErrorType.ITEM_ERROR
    error_code = "ITEM_NOT_FOUND"
    message = (
        "The Item you requested cannot be found. This Item does not exist, has been previously removed via "
        "/item/remove, or has had access removed by the user"
    )


class PermissionRevoked(ApiError):
    """The item's owner has revoked their consent."""

    error_type = ErrorType.ITEM_ERROR
    error_code = "USER_PERMISSION_REVOKED"
    message = "the holder of this account has revoked their permission for your application to access it"


class ProductNotReady(ApiError):
    """The item's transactions are still being fetched."""

    error_type = ErrorType.ITEM_ERROR
    error_code = "PRODUCT_NOT_READY"
    message = "the requested product is not yet ready. please provide a webhook or try the request again later"


class MutationDuringPagination(ApiError):
    """The data changed while its pages were read."""

    error_type = ErrorType.TRANSACTIONS_ERROR
    error_code = "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"
    message = (
        "Underlying transaction data changed since last page was fetched. Please restart pagination from last update."
    )


class RateLimitExceeded(ApiError):
    """Too many requests in a minute.

    Parameters
    ----------
    error_code
        Plaid's error code for the endpoint.
    retry_after
        Whole seconds after which to retry; None sends no `Retry-After`.
    """

    error_type = ErrorType.RATE_LIMIT_EXCEEDED
    status = 429
    message = "rate limit exceeded for attempts to access this item. please try again later"

    def __init__(self, error_code: str, *, retry_after: int | None = None) -> None:
        super().__init__()
        self.error_code = error_code
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class InternalServerError(ApiError):
    """The bank itself failed."""

    error_type = ErrorType.API_ERROR
    error_code = "INTERNAL_SERVER_ERROR"
    status = 500
    message = "an unexpected error occurred"
