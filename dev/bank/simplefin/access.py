"""Setup tokens, the access URLs that they are claimed for, and whose connections these give access to.

A code holds the number of its user, a random part and a MAC, so that the bank stores only which codes were claimed.
"""

import hmac
import secrets
from base64 import b64decode
from dataclasses import dataclass
from typing import Self

from dev.bank.bank import Bank
from dev.bank.world.seed import HashDomain, Key, pack

CONNECTIONS = 2
"""Connections of a user: user n has the items 2n and 2n + 1, each at an institution of its own drawing."""

_HALF_BYTES = 8
_PASSWORD_BYTES = 32


class CodeUnknown(ValueError):
    """The bank did not issue the code."""

    def __init__(self) -> None:
        super().__init__("code was not issued by this bank; check that the seed has not changed")


@dataclass(frozen=True, slots=True)
class User:
    """A user of the server, with the items that are his or her connections."""

    number: int
    items: tuple[int, ...]

    @classmethod
    def of(cls, bank: Bank, number: int) -> Self:
        """Return a user.

        Raises
        ------
        ValueError
            If none of the user's items exists.
        """
        first = number * CONNECTIONS
        items = tuple(each for each in range(first, first + CONNECTIONS) if each < bank.item_count)
        if number < 0 or not items:
            message = f"user is {number}; it must be 0 to {(bank.item_count - 1) // CONNECTIONS}"
            raise ValueError(message)
        return cls(number, items)


def new_code(key: Key, user: int) -> str:
    """Return the code of a new setup token of a user."""
    sealed = pack(user) + secrets.token_bytes(_HALF_BYTES)
    return (sealed + key.mac(HashDomain.SETUP_TOKEN, sealed, size=_HALF_BYTES)).hex()


def read_code(key: Key, code: str) -> int:
    """Return the number of the user to whom a code belongs.

    Raises
    ------
    CodeUnknown
        If the bank did not issue it.
    """
    try:
        content = bytes.fromhex(code)
    except ValueError:
        raise CodeUnknown from None
    sealed, mac = content[:-_HALF_BYTES], content[-_HALF_BYTES:]
    if len(sealed) != 2 * _HALF_BYTES or not hmac.compare_digest(
        mac, key.mac(HashDomain.SETUP_TOKEN, sealed, size=_HALF_BYTES)
    ):
        raise CodeUnknown
    return int.from_bytes(sealed[:_HALF_BYTES])


def password(key: Key, code: str) -> str:
    """Return the password of the access URL that a code is claimed for; the code is its user name."""
    return key.mac(HashDomain.ACCESS_URL, code.encode(), size=_PASSWORD_BYTES).hex()


def read_basic(header: str) -> tuple[str, str]:
    """Return user name and password of an `Authorization` header; both empty if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        username, _, given_password = b64decode(encoded, validate=True).decode("ascii").partition(":")
    except ValueError:
        return "", ""
    return username, given_password


def is_valid(bank: Bank, username: str, given_password: str) -> bool:
    """Return whether user name and password are those of an access URL that was claimed."""
    expected = password(bank.key, username)
    return bank.changes.is_claimed(username) and hmac.compare_digest(given_password.encode(), expected.encode())
