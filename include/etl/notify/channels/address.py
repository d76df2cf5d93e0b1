"""Mail addresses, as a server and a header want them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import idna

_NAME_ADDR = re.compile(r'\s*(?:"(?P<quoted>[^"\\]*)"|(?P<name>[^<>"]*?))\s*<(?P<address>[^<>]*)>\s*')
_ATOM = r"[^\s\"(),.:;<>@\[\]\\]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_MAX_LOCAL_PART_BYTES = 64
_MAX_DOMAIN_LENGTH = 253


class AddressMalformed(Exception):
    """It is no mail address; the message says why, without showing it."""


@dataclass(frozen=True)
class MailAddress:
    """A mail address, checked.

    Parameters
    ----------
    address
        Its domain is in ASCII; what is before the `@` may not be.
    display_name
        Whose it is, for people; empty if not said.
    """

    address: str = field(repr=False)
    display_name: str = field(default="", repr=False)

    @property
    def domain(self) -> str:
        """Where it is."""
        return self.address.rpartition("@")[2]

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server that knows SMTPUTF8 (RFC 6531) can take it."""
        return not self.address.isascii()


def parse_address(text: str) -> MailAddress:
    """Read `joe@example.org`, or `Joe <joe@example.org>`.

    Addresses that need quotes or brackets, which are legal and in no use, are refused.

    Raises
    ------
    AddressMalformed
        If it is no address.
    """
    if not text.isprintable():
        raise AddressMalformed("it holds a control character")
    found = _NAME_ADDR.fullmatch(text)
    name = (found["quoted"] or found["name"] or "").strip() if found else ""
    local, at, domain = (found["address"] if found else text).strip().rpartition("@")
    if not at:
        raise AddressMalformed("it has no @")
    if not _LOCAL_PART.fullmatch(local):
        raise AddressMalformed("what is before its @ is no name")
    if len(local.encode()) > _MAX_LOCAL_PART_BYTES:
        raise AddressMalformed("what is before its @ is too long")
    return MailAddress(f"{local}@{_encode_domain(domain)}", name)


@lru_cache(maxsize=65_536)
def _encode_domain(domain: str) -> str:
    try:
        encoded = idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise AddressMalformed("what is after its @ is no domain") from None
    if encoded.endswith(".") or len(encoded) > _MAX_DOMAIN_LENGTH:
        raise AddressMalformed("what is after its @ is no domain")
    return encoded
