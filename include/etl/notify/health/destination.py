"""Where a message goes: the mail domain or the push service that refuses or accepts it with others."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from yarl import URL

from etl.declare.channel import AddressFormat, Channel
from etl.json_text import DECODE_ERRORS
from etl.mail_address import AddressMalformed, parse_address
from etl.notify.health.breaker import CHANNEL


class _Endpoint(msgspec.Struct):
    endpoint: str = ""


def find_destination(channel: Channel, address: str) -> str:
    """Return the destination of an address, in lower case; `CHANNEL` if the channel has but one, or it is malformed."""
    match channel.address:
        case AddressFormat.MAIL:
            return _find_domain(address)
        case AddressFormat.JSON:
            return _find_host(address)
    return CHANNEL


def _find_domain(address: str) -> str:
    try:
        return parse_address(address).domain
    except AddressMalformed:
        return CHANNEL


@lru_cache(maxsize=4_096)
def _find_host(subscription: str) -> str:
    try:
        host = URL(msgspec.json.decode(subscription, type=_Endpoint).endpoint).host
    except (*DECODE_ERRORS, ValueError):
        return CHANNEL
    return (host or CHANNEL).lower().rstrip(".")
