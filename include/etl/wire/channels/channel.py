"""Channels: what carries a message to a person, behind one small protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol


class Outcome(Enum):
    """What came of a message."""

    SENT = "sent"
    """The server took it."""
    FAILED = "failed"
    """It was refused for good; nobody got it."""
    DEFERRED = "deferred"
    """It was not taken now and may be later; nobody got it."""
    UNKNOWN = "unknown"
    """The connection broke after it was handed over and before the server said so: somebody may have got it."""


@dataclass(frozen=True)
class Message:
    """One message to one address.

    Parameters
    ----------
    delivery_id
        Its row in the ledger; message ids are made from it.
    address
        An e-mail address, a registration token, or a Web Push subscription as JSON.
    parts
        What was rendered, by name: `subject`, `text` and `html`; or `title`, `body` and `url`.
    expires_at
        When it is of no use any more; None for never.
    unsubscribe_url
        Link that ends messages of its category, by https; empty if it may not be ended.
    unsubscribe_mailto
        Link to a mail that asks for the same; empty if nobody reads it.
    """

    delivery_id: int
    address: str = field(repr=False)
    parts: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None = None
    unsubscribe_url: str = field(default="", repr=False)
    unsubscribe_mailto: str = field(default="", repr=False)


@dataclass(frozen=True)
class Result:
    """What came of one message.

    Parameters
    ----------
    delivery_id
        Which.
    outcome
        What came of it.
    error_class
        Short and countable, such as `550`, `UNREGISTERED` or `ConnectionLost`; empty if it was sent.
    error
        What the server said, in one line, without the address.
    address_ended
        Whether the address will never take a message again and must be pruned.
    """

    delivery_id: int
    outcome: Outcome
    error_class: str = ""
    error: str = ""
    address_ended: bool = False


class Channel(Protocol):
    """Hands messages to a server; an async context manager around its connections."""

    @property
    def host(self) -> str:
        """Which server it is, for the pace that all senders to it share."""

    async def send(self, messages: Sequence[Message]) -> list[Result]:
        """Hand messages over, some at the same time, and return what came of each, in their order.

        It never raises for one message; a message of which nothing is known is `UNKNOWN`.
        """
