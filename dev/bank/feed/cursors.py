"""Cursors: positions in a feed, sealed for one stream of one item, opaque to whoever carries them."""

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import date
from struct import Struct

from dev.bank.feed.feed import EventOffset, Outflows, Position
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.seed import HashDomain, Key, pack

_TAG_BYTES = 16
_OFFSET_FORMAT = Struct(">IH")
_OUTFLOW_FORMAT = Struct(">q")


class CursorInvalid(ValueError):
    """A cursor that this bank did not give for this stream of this item."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a cursor walks: all events of an item, or those of one account."""

    item: Item
    account: Account | None = None

    def identity(self) -> bytes:
        """Return bytes that no other stream has."""
        return pack(self.item.number, 0 if self.account is None else self.account.ordinal + 1)


def seal(key: Key, stream: Stream, position: Position) -> str:
    """Return the cursor for `position`, at most 256 ASCII characters; always the same one."""
    places = (
        (position.loop_start, position.next_event, position.loop_end)
        if position.is_mid_loop
        else (position.next_event,)
    )
    moved = (*position.outflows.posted, *position.outflows.pending)
    body = bytes([len(places)])
    body += b"".join(_OFFSET_FORMAT.pack(place.day.toordinal(), place.number) for place in places)
    body += b"".join(_OUTFLOW_FORMAT.pack(minor) for minor in moved)
    return b64encode(_tag(key, stream, body) + body).decode()


def unseal(key: Key, stream: Stream, cursor: str) -> Position:
    """Return the position that `cursor` stands for.

    Raises
    ------
    CursorForeign
        If it was not given for this stream by a bank of this seed.
    """
    try:
        sealed = b64decode(cursor, validate=True)
    except ValueError:
        sealed = b""
    tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(key, stream, body)):
        message = "cursor was not given for this item and account; start again without one"
        raise CursorInvalid(message)
    sums = 1 + body[0] * _OFFSET_FORMAT.size
    places = [EventOffset(date.fromordinal(day), index) for day, index in _OFFSET_FORMAT.iter_unpack(body[1:sums])]
    moved = [minor for (minor,) in _OUTFLOW_FORMAT.iter_unpack(body[sums:])]
    half = len(moved) // 2
    return Position(places[0], places[len(places) // 2], places[-1], Outflows(tuple(moved[:half]), tuple(moved[half:])))


def _tag(key: Key, stream: Stream, body: bytes) -> bytes:
    return key.mac(HashDomain.CURSOR, stream.identity() + body, size=_TAG_BYTES)
