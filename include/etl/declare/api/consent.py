"""Consents of users, which a provider may describe elsewhere than in its response to an enrolment."""

from __future__ import annotations

from dataclasses import dataclass

from etl.declare.api.request import Placeholder, Request
from etl.declare.validation import require_field_path
from etl.errors import DeclarationError


@dataclass(frozen=True, kw_only=True)
class ConsentLookup(Request):
    """How to ask for how long a consent is valid, where the response to an enrolment only names the consent.

    Parameters
    ----------
    consent_id
        Path of its id in the response to the enrolment; it fills `Placeholder.CONSENT_ID`.
    valid_days
        Path of the days for which it is valid, in the response to this request.
    """

    consent_id: str
    valid_days: str

    def __post_init__(self) -> None:
        where = f"consent lookup by {self.path}"
        self.check_request(where, {Placeholder.CONSENT_ID}, "it")
        require_field_path(where, "consent_id", self.consent_id)
        require_field_path(where, "valid_days", self.valid_days)
        if Placeholder.CONSENT_ID not in self.placeholders:
            raise DeclarationError(f"{where}: its request has no Placeholder.CONSENT_ID, so it asks for none; add it")
