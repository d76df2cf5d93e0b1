"""Cursors: positions in a feed, sealed for one stream of one item, opaque to whoever carries them."""

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import date
from struct import Struct

from dev.bank.feed.feed import Moved, Place, Position
from dev.bank.world.accounts import Account
from dev.bank.world.items import Item
from dev.bank.world.seed import Domain, Key, pack

_TAG = 16
_PLACE = Struct(">IH")
_MOVED = Struct(">q")


class CursorForeign(ValueError):
    """A cursor that this bank did not give for this stream of this item."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What a cursor walks: all events of an item, or those of one account."""

    item: Item
    account: Account | None = None

    def name(self) -> bytes:
        """Return bytes that no other stream has."""
        return pack(self.item.number, 0 if self.account is None else self.account.ordinal + 1)


def seal(key: Key, stream: Stream, position: Position) -> str:
    """Return the cursor for `position`, at most 256 ASCII characters; always the same one."""
    places = (position.since, position.place, position.until) if position.midway else (position.place,)
    moved = (*position.moved.posted, *position.moved.pending)
    body = bytes([len(places)])
    body += b"".join(_PLACE.pack(place.day.toordinal(), place.number) for place in places)
    body += b"".join(_MOVED.pack(minor) for minor in moved)
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
    tag, body = sealed[:_TAG], sealed[_TAG:]
    if not hmac.compare_digest(tag, _tag(key, stream, body)):
        message = "cursor was not given for this item and account; start again without one"
        raise CursorForeign(message)
    sums = 1 + body[0] * _PLACE.size
    places = [Place(date.fromordinal(day), index) for day, index in _PLACE.iter_unpack(body[1:sums])]
    moved = [minor for (minor,) in _MOVED.iter_unpack(body[sums:])]
    half = len(moved) // 2
    return Position(places[0], places[len(places) // 2], places[-1], Moved(tuple(moved[:half]), tuple(moved[half:])))


def _tag(key: Key, stream: Stream, body: bytes) -> bytes:
    return key.mac(Domain.CURSOR, stream.name() + body, size=_TAG)
