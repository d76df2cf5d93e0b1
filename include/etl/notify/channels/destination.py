"""Where a message goes: the mail domain or the push service that refuses or accepts it with others."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from yarl import URL

from etl.declare.channel import AddressFormat, Channel
from etl.json_text import DECODE_ERRORS
from etl.mail_address import AddressMalformed, parse_address

NONE = ""
"""Destination of what names none: a channel has but one, or the address is malformed."""


class _Endpoint(msgspec.Struct):
    endpoint: str = ""


def find_destination(channel: Channel, address: str) -> str:
    """Return the destination of an address, in lower case, or `NONE`."""
    match channel.address:
        case AddressFormat.MAIL:
            return find_domain(address)
        case AddressFormat.JSON:
            return find_host(address)
    return NONE


def find_domain(address: str) -> str:
    """Return the domain of a mail address, as DNS has it, or `NONE`."""
    try:
        return parse_address(address).domain
    except AddressMalformed:
        return NONE


@lru_cache(maxsize=4_096)
def find_host(subscription: str) -> str:
    """Return the host of the push service of a subscription, or `NONE`."""
    try:
        host = URL(msgspec.json.decode(subscription, type=_Endpoint).endpoint).host
    except (*DECODE_ERRORS, ValueError):
        return NONE
    return (host or NONE).lower().rstrip(".")
