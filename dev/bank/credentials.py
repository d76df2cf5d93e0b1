"""Who may call the bank: one client, by headers or by body."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dev.bank.errors import InvalidApiKeys, MissingFields


@dataclass(frozen=True, slots=True)
class Credentials:
    """The client that the bank answers. Both are ASCII, all that a header surely carries."""

    client_id: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (self.client_id.isascii() and self.secret.isascii()):
            message = "client id or secret has a character outside ASCII; choose ones without"
            raise ValueError(message)

    def check(self, headers: Mapping[str, str], fields: Mapping[str, Any]) -> None:
        """Pass if the request carries them, as headers `PLAID-CLIENT-ID` and `PLAID-SECRET` or as body fields.

        Raises
        ------
        MissingFields
            If either is absent from both.
        InvalidApiKeys
            If they are not this client's.
        """
        given = {
            "client_id": headers.get("plaid-client-id") or fields.get("client_id"),
            "secret": headers.get("plaid-secret") or fields.get("secret"),
        }
        if missing := [name for name, value in given.items() if not value]:
            raise MissingFields(missing)
        matches = [_same(given["client_id"], self.client_id), _same(given["secret"], self.secret)]
        if not all(matches):
            raise InvalidApiKeys


def _same(given: object, expected: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())
