"""What all channels share: messages, results, and the protocol of senders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from etl.notify.channels.adaptive import Signal

_WORD = re.compile(r"<?[^\s<>]+>?")
_MAX_REPLY_LENGTH = 2_000
"""Characters of a reply that are read."""
_MAX_ERROR_LENGTH = 200


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
        How long the server asked to wait, or the channel sends nothing there; None if neither says anything.
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
    """A `SendResult` without its message and destination, and what it says about the load of the server."""

    outcome: SendOutcome
    error_class: str = ""
    error: str = ""
    is_address_invalid: bool = False
    scope: Scope = Scope.RECIPIENT
    retry_after: timedelta | None = None
    signal: Signal = Signal.ANSWERED

    def to_result(self, message: Message, destination: str) -> SendResult:
        """Return it as the result of a message that goes to a destination."""
        return SendResult(
            message.delivery_id,
            self.outcome,
            self.error_class,
            self.error,
            self.is_address_invalid,
            self.scope,
            destination,
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
        self.verdict = SendStatus(SendOutcome.FAILED, error_class, error, is_address_invalid, signal=Signal.NOT_SENT)


class Sender(Protocol):
    """Sends messages to a server; an async context manager that opens and closes its connections."""

    @property
    def host(self) -> str:
        """Identifies the server; all senders to it share one pace."""

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Send messages, several at a time, and return their results in the same order.

        It never raises for a single message; one whose fate is not known is `UNKNOWN`.
        """


def redact_error(text: str, *, address: str = "") -> str:
    """Return a server's reply in one line, without mail addresses, and without `address` if it quotes that.

    Only its start is read, since a stranger may write any amount; time grows with its length only.
    """
    start = text[:_MAX_REPLY_LENGTH]
    if len(text) > _MAX_REPLY_LENGTH:
        # The last word may be the start of an address.
        start = start.rpartition(" ")[0] or start
    redacted = start.replace(address, "…") if address else start
    line = " ".join(redacted.encode(errors="replace").decode().split())
    return _WORD.sub(_redact_address, line.replace("\0", ""))[:_MAX_ERROR_LENGTH]


def _redact_address(word: re.Match[str]) -> str:
    return "…" if "@" in word[0] else word[0]
