"""What all channels share: messages, results, the protocol of senders, and concurrent sending."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

_MAIL_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")
_MAX_ERROR_LENGTH = 200

log = logging.getLogger(__name__)


class SendOutcome(Enum):
    """Whether a server has accepted a message."""

    SENT = "sent"
    """The server accepted it."""
    FAILED = "failed"
    """It was rejected permanently; the recipient did not get it."""
    DEFERRED = "deferred"
    """It was not accepted now and may be later; the recipient did not get it."""
    UNKNOWN = "unknown"
    """The connection broke after the message was sent and before the reply: the recipient may have got it."""


class Scope(Enum):
    """Whom a server's refusal concerns, and so which other messages would meet it, too."""

    RECIPIENT = "recipient"
    """This address or this message only, such as greylisting or a full mailbox."""
    DESTINATION = "destination"
    """All messages to the same destination, such as a mail domain or a push service."""
    SERVER = "server"
    """All messages through the same server, such as a mail server, or a project of FCM."""


@dataclass(frozen=True)
class Message:
    """One message to one address.

    Parameters
    ----------
    delivery_id
        Its row in the delivery ledger; message ids are derived from it.
    address
        A mail address, a registration token, or a Web Push subscription as JSON.
    parts
        Rendered text by name of part: `subject`, `text` and `html`; or `title`, `body` and `url`.
    expires_at
        When it becomes useless; None for never.
    unsubscribe_url
        https link to unsubscribe from its category; empty if the recipient cannot.
    unsubscribe_mailto
        Link to a mail that asks for the same; empty if nobody reads such mails.
    """

    delivery_id: int
    address: str = field(repr=False)
    parts: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None = None
    unsubscribe_url: str = field(default="", repr=False)
    unsubscribe_mailto: str = field(default="", repr=False)


@dataclass(frozen=True)
class SendResult:
    """The result of sending one message.

    Parameters
    ----------
    delivery_id
        Delivery of the message.
    outcome
        Whether the server has accepted it.
    error_class
        Short and countable, such as `550`, `UNREGISTERED` or `ConnectionLost`; empty if it was sent.
    error
        What the server replied, in one line, without the address.
    is_address_invalid
        Whether the server said that the address will never accept a message again.
    scope
        Whom a refusal concerns.
    destination
        Where the message goes, in lower case: a mail domain, the host of a push service, or a project; empty if it
        names none.
    retry_after
        How long the server asked to wait; None if it asked for nothing.
    """

    delivery_id: int
    outcome: SendOutcome
    error_class: str = ""
    error: str = ""
    is_address_invalid: bool = False
    scope: Scope = Scope.RECIPIENT
    destination: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True)
class SendStatus:
    """The fields of a `SendResult` without the delivery."""

    outcome: SendOutcome
    error_class: str = ""
    error: str = ""
    is_address_invalid: bool = False
    scope: Scope = Scope.RECIPIENT
    destination: str = ""
    retry_after: timedelta | None = None

    def to_result(self, message: Message) -> SendResult:
        """Return it as the result of a message."""
        return SendResult(
            message.delivery_id,
            self.outcome,
            self.error_class,
            self.error,
            self.is_address_invalid,
            self.scope,
            self.destination,
            self.retry_after,
        )


class MessageUnsendable(Exception):
    """A message cannot be encoded for its channel; nothing was sent to a server.

    Parameters
    ----------
    error_class
        The reason, countable.
    error
        The reason in words, without the address.
    is_address_invalid
        Whether the address is the reason, permanently.
    """

    def __init__(self, error_class: str, error: str, *, is_address_invalid: bool = False) -> None:
        super().__init__(error)
        self.verdict = SendStatus(SendOutcome.FAILED, error_class, error, is_address_invalid)


class Sender(Protocol):
    """Sends messages to a server; an async context manager that opens and closes its connections."""

    @property
    def host(self) -> str:
        """Identifies the server; all senders to it share one pace."""

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Send messages, several at a time, and return their results in the same order.

        It never raises for a single message; one whose fate is not known is `UNKNOWN`.
        """


async def send_concurrently(
    messages: Sequence[Message], send: Callable[[Message], Awaitable[SendResult]], *, concurrency: int
) -> list[SendResult]:
    """Send messages, at most `concurrency` at a time; an unexpected error of one does not stop the others."""
    results: list[SendResult | None] = [None] * len(messages)
    pending = iter(enumerate(messages))

    async def run_worker() -> None:
        for index, message in pending:
            results[index] = await _send_safely(send, message)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(messages))):
            group.create_task(run_worker())
    return [result for result in results if result is not None]


def redact_error(text: str, *, address: str = "") -> str:
    """Return a server's reply in one line, without mail addresses, and without `address` if it quotes that."""
    redacted = text.replace(address, "…") if address else text
    line = " ".join(redacted.encode(errors="replace").decode().split())
    return _MAIL_ADDRESS.sub("…", line.replace("\0", ""))[:_MAX_ERROR_LENGTH]


async def _send_safely(send: Callable[[Message], Awaitable[SendResult]], message: Message) -> SendResult:
    try:
        return await send(message)
    except Exception as error:  # noqa: BLE001 - the protocol promises that one message raises nothing
        # It is not known how far sending came. The error may quote an address: only its class is logged.
        log.error("delivery %d: %s in its channel", message.delivery_id, type(error).__name__)  # noqa: TRY400
        return SendResult(message.delivery_id, SendOutcome.UNKNOWN, type(error).__name__, "an error in its channel")
