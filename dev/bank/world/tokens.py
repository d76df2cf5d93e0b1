"""Tokens that encode their item's number, so that the bank need not store them.

The 128 bits of a token's UUID are a 64-bit MAC of the item number, then the number masked by a second MAC of the
first. The MAC is therefore wrong in a made-up token, one of another bank and one of the other kind.
"""

from enum import Enum
from uuid import UUID

from dev.bank.world.seed import HashDomain, Key, pack

MAX_ITEMS = 2**64

_HALF_BYTES = 8


class TokenKind(Enum):
    """The two tokens of an item; the value is the token's prefix."""

    PUBLIC = "public"
    ACCESS = "access"


class TokenUnknown(ValueError):
    """The bank did not issue the token."""


_DOMAINS = {TokenKind.PUBLIC: HashDomain.PUBLIC_TOKEN, TokenKind.ACCESS: HashDomain.ACCESS_TOKEN}


def mint(key: Key, kind: TokenKind, item: int) -> str:
    """Return the token of item number `item`, 0 to `MAX_ITEMS` - 1; equal for equal arguments."""
    tag = key.mac(_DOMAINS[kind], b"tag" + pack(item), size=_HALF_BYTES)
    masked = item ^ _mask(key, kind, tag)
    return f"{kind.value}-sandbox-{UUID(bytes=tag + pack(masked))}"


def read(key: Key, kind: TokenKind, token: str) -> int:
    """Return the item number that `token` encodes.

    Raises
    ------
    TokenUnknown
        If the bank did not issue `token` as one of that kind.
    """
    try:
        sealed = UUID(token.removeprefix(f"{kind.value}-sandbox-")).bytes
    except ValueError:
        raise TokenUnknown(_unknown_token_message(kind)) from None
    tag, masked = sealed[:_HALF_BYTES], int.from_bytes(sealed[_HALF_BYTES:])
    item = masked ^ _mask(key, kind, tag)
    if mint(key, kind, item) != token:
        raise TokenUnknown(_unknown_token_message(kind))
    return item


def _mask(key: Key, kind: TokenKind, tag: bytes) -> int:
    return int.from_bytes(key.mac(_DOMAINS[kind], b"mask" + tag, size=_HALF_BYTES))


def _unknown_token_message(kind: TokenKind) -> str:
    return f"{kind.value} token was not issued by this bank; check that the seed has not changed"
