"""Tokens that carry the item number they stand for, so that the bank remembers none.

The 128 bits of a token's UUID are a 64-bit MAC of the item number, then the number masked by a second MAC of the
first. A made-up token, another bank's or one of the other kind therefore fails its MAC.
"""

from enum import Enum
from uuid import UUID

from dev.bank.world.seed import Domain, Key, pack

ITEMS = 2**64

_HALF = 8


class TokenKind(Enum):
    """The two tokens an item has; the value is the token's first word."""

    PUBLIC = "public"
    ACCESS = "access"


class TokenUnknown(ValueError):
    """A token that this bank never issued."""


_DOMAINS = {TokenKind.PUBLIC: Domain.PUBLIC_TOKEN, TokenKind.ACCESS: Domain.ACCESS_TOKEN}


def mint(key: Key, kind: TokenKind, item: int) -> str:
    """Return the token of item number `item`, 0 to `ITEMS` - 1; always the same one."""
    tag = key.mac(_DOMAINS[kind], b"tag" + pack(item), size=_HALF)
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
        raise TokenUnknown(_refusal(kind)) from None
    tag, masked = sealed[:_HALF], int.from_bytes(sealed[_HALF:])
    item = masked ^ _mask(key, kind, tag)
    if mint(key, kind, item) != token:
        raise TokenUnknown(_refusal(kind))
    return item


def _mask(key: Key, kind: TokenKind, tag: bytes) -> int:
    return int.from_bytes(key.mac(_DOMAINS[kind], b"mask" + tag, size=_HALF))


def _refusal(kind: TokenKind) -> str:
    return f"{kind.value} token was not issued by this bank; check that it was started with the seed it had then"
