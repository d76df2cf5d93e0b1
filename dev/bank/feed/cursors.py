"""Cursors: positions in a feed, sealed for one stream of one item, and opaque to clients."""

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
    """The bank did not issue the cursor for this stream."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The events that a cursor reads: all of an item, or those of one account."""

    item: Item
    account: Account | None = None

    def identity(self) -> bytes:
        """Return bytes that are unique to the stream."""
        return pack(self.item.number, 0 if self.account is None else self.account.ordinal + 1)


def seal(key: Key, stream: Stream, position: Position) -> str:
    """Return the cursor of `position`: at most 256 ASCII characters, equal for equal arguments."""
    offsets = (
        (position.loop_start, position.next_event, position.loop_end)
        if position.is_mid_loop
        else (position.next_event,)
    )
    amounts = (*position.outflows.posted, *position.outflows.pending)
    body = bytes([len(offsets)])
    body += b"".join(_OFFSET_FORMAT.pack(offset.day.toordinal(), offset.number) for offset in offsets)
    body += b"".join(_OUTFLOW_FORMAT.pack(amount) for amount in amounts)
    return b64encode(_tag(key, stream, body) + body).decode()


def unseal(key: Key, stream: Stream, cursor: str) -> Position:
    """Return the position that `cursor` encodes.

    Raises
    ------
    CursorInvalid
        If no bank of this seed issued it for this stream.
    """
    try:
        sealed = b64decode(cursor, validate=True)
    except ValueError:
        sealed = b""
    tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
    if not hmac.compare_digest(tag, _tag(key, stream, body)):
        message = "cursor was not issued for this item and account; start again without one"
        raise CursorInvalid(message)
    amounts_start = 1 + body[0] * _OFFSET_FORMAT.size
    offsets = [
        EventOffset(date.fromordinal(day), index) for day, index in _OFFSET_FORMAT.iter_unpack(body[1:amounts_start])
    ]
    amounts = [amount for (amount,) in _OUTFLOW_FORMAT.iter_unpack(body[amounts_start:])]
    half = len(amounts) // 2
    return Position(
        offsets[0], offsets[len(offsets) // 2], offsets[-1], Outflows(tuple(amounts[:half]), tuple(amounts[half:]))
    )


def _tag(key: Key, stream: Stream, body: bytes) -> bytes:
    return key.mac(HashDomain.CURSOR, stream.identity() + body, size=_TAG_BYTES)
