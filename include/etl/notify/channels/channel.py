"""Channels: what carries a message to a person, behind one small protocol."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol


class SendOutcome(Enum):
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
class SendResult:
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
    is_address_invalid
        Whether the address will never take a message again and must be pruned.
    """

    delivery_id: int
    outcome: SendOutcome
    error_class: str = ""
    error: str = ""
    is_address_invalid: bool = False


class Sender(Protocol):
    """Hands messages to a server; an async context manager around its connections."""

    @property
    def host(self) -> str:
        """Which server it is, for the pace that all senders to it share."""

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Hand messages over, some at the same time, and return what came of each, in their order.

        It never raises for one message; a message of which nothing is known is `UNKNOWN`.
        """


log = logging.getLogger(__name__)


async def send_concurrently(
    messages: Sequence[Message], send: Callable[[Message], Awaitable[SendResult]], *, concurrency: int
) -> list[SendResult]:
    """Send messages, at most `concurrency` at a time; one that ends in an error of ours sinks none of the others."""
    results: list[SendResult | None] = [None] * len(messages)
    waiting = iter(enumerate(messages))

    async def lane() -> None:
        for place, message in waiting:
            results[place] = await _send_safely(send, message)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(messages))):
            group.create_task(lane())
    return [result for result in results if result is not None]


async def _send_safely(send: Callable[[Message], Awaitable[SendResult]], message: Message) -> SendResult:
    try:
        return await send(message)
    except Exception as error:  # noqa: BLE001 - the edge that the protocol promises
        # Nobody knows how far it came. The error may quote an address: only its class is told.
        log.error("delivery %d: %s in its channel", message.delivery_id, type(error).__name__)  # noqa: TRY400
        return SendResult(message.delivery_id, SendOutcome.UNKNOWN, type(error).__name__, "an error in its channel")


_MAIL_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")
_MAX_ERROR_LENGTH = 200


@dataclass(frozen=True)
class SendVerdict:
    """What came of a message; the fields are those of a `SendResult`."""

    outcome: SendOutcome
    error_class: str = ""
    error: str = ""
    is_address_invalid: bool = False

    def to_result(self, message: Message) -> SendResult:
        """Return it as that of a message."""
        return SendResult(message.delivery_id, self.outcome, self.error_class, self.error, self.is_address_invalid)


class MessageUnsendable(Exception):
    """A message cannot become what its channel carries; no server saw it.

    Parameters
    ----------
    error_class
        What is wrong, countable.
    error
        What was found, without the address.
    is_address_invalid
        Whether the address is to blame, for good.
    """

    def __init__(self, error_class: str, error: str, *, is_address_invalid: bool = False) -> None:
        super().__init__(error)
        self.verdict = SendVerdict(SendOutcome.FAILED, error_class, error, is_address_invalid)


def redact_error(text: str, *, address: str = "") -> str:
    """Return what a server said in one line, without mail addresses, and without another address if it quotes that."""
    hidden = text.replace(address, "…") if address else text
    line = " ".join(hidden.encode(errors="replace").decode().split())
    return _MAIL_ADDRESS.sub("…", line.replace("\0", ""))[:_MAX_ERROR_LENGTH]
