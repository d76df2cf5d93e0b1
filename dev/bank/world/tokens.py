"""Tokens that carry the item number they stand for, so that the bank remembers none.

The 128 bits of a token's UUID are a 64-bit MAC of the item number, then the number masked by a second MAC of the
first. A made-up token, another bank's or one of the other kind therefore fails its MAC.
"""

from enum import Enum
from uuid import UUID

from dev.bank.world.seed import HashDomain, Key, pack

MAX_ITEMS = 2**64

_HALF_BYTES = 8


class TokenKind(Enum):
    """The two tokens an item has; the value is the token's first word."""

    PUBLIC = "public"
    ACCESS = "access"


class TokenUnknown(ValueError):
    """A token that this bank never issued."""


_DOMAINS = {TokenKind.PUBLIC: HashDomain.PUBLIC_TOKEN, TokenKind.ACCESS: HashDomain.ACCESS_TOKEN}


def mint(key: Key, kind: TokenKind, item: int) -> str:
    """Return the token of item number `item`, 0 to `MAX_ITEMS` - 1; always the same one."""
    tag = key.mac(_DOMAINS[kind], b"tag" + pack(item), size=_HALF_BYTES)
    masked = item ^ _mask(key, kind, tag)
    return f"{kind.value}-sandbox-{UUID(bytes=tag + pack(masked))}"


def read(key: Key, kind: TokenKind, token: str) -> int:
    """Return the item number that `token` stands for.

    Raises
    ------
    TokenUnknown
        If this bank never issued `token` as one of that kind.
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
    return f"{kind.value} token was not issued by this bank; check that it was started with the seed it had then"
