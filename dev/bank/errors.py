"""What the bank refuses, in Plaid's words.

Refusal
├── INVALID_REQUEST: InvalidBody, MissingFields, UnknownFields, InvalidField, NotFound
├── INVALID_INPUT: InvalidApiKeys, InvalidPublicToken, InvalidAccessToken, InvalidAccountId, InvalidInstitution
└── API_ERROR: InternalServerError
"""

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar


class ErrorType(Enum):
    """Plaid's broad kinds of error, those the bank uses."""

    INVALID_REQUEST = "INVALID_REQUEST"
    INVALID_INPUT = "INVALID_INPUT"
    API_ERROR = "API_ERROR"


class Refusal(Exception):
    """An error answer. Its text is Plaid's `error_message`."""

    error_type: ClassVar[ErrorType] = ErrorType.INVALID_REQUEST
    error_code: ClassVar[str]
    status: ClassVar[int] = 400
    message: ClassVar[str] = ""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class InvalidBody(Refusal):
    """The body is not one JSON object, sent as such."""

    error_code = "INVALID_BODY"
    message = "body could not be parsed as JSON"


class MissingFields(Refusal):
    """Required fields are absent."""

    error_code = "MISSING_FIELDS"

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(f"the following required fields are missing: {', '.join(names)}")


class UnknownFields(Refusal):
    """The body has fields that the endpoint does not know."""

    error_code = "UNKNOWN_FIELDS"

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(f"the following fields are not recognized by this endpoint: {', '.join(names)}")


class InvalidField(Refusal):
    """A field has the wrong type or value."""

    error_code = "INVALID_FIELD"


class NotFound(Refusal):
    """There is no such route, or not with that method."""

    error_code = "NOT_FOUND"
    status = 404
    message = "not found"


class InvalidApiKeys(Refusal):
    """The client id and secret are not this bank's client's."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_API_KEYS"
    message = "invalid client_id or secret provided"


class InvalidPublicToken(Refusal):
    """The public token is not of this bank's making."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_PUBLIC_TOKEN"
    message = "could not find matching public token"


class InvalidAccessToken(Refusal):
    """The access token is not of this bank's making."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_ACCESS_TOKEN"
    message = "could not find matching access token"


class InvalidAccountId(Refusal):
    """The item has no such account."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_ACCOUNT_ID"
    message = "failed to find requested account ID for requested item"


class InvalidInstitution(Refusal):
    """There is no such institution."""

    error_type = ErrorType.INVALID_INPUT
    error_code = "INVALID_INSTITUTION"
    message = "invalid institution_id provided"


class InternalServerError(Refusal):
    """The bank itself failed."""

    error_type = ErrorType.API_ERROR
    error_code = "INTERNAL_SERVER_ERROR"
    status = 500
    message = "an unexpected error occurred"
