"""A channel whose server refused it at opening: its messages wait, while those of other channels are sent."""

from __future__ import annotations

from collections.abc import Sequence

from etl.errors import ChannelRefused
from etl.notify.channels.channel import Message, Scope, SendOutcome, SendResult, SendStatus, redact_error


class RefusedSender:
    """Sends nothing, and defers each message with the reason; see `Sender`.

    Parameters
    ----------
    error
        Why the channel was refused.
    """

    def __init__(self, error: ChannelRefused) -> None:
        self._status = SendStatus(
            SendOutcome.DEFERRED, type(error).__name__, redact_error(str(error)), scope=Scope.SERVER
        )

    @property
    def host(self) -> str:
        """No server; messages that are not sent need no pace of one."""
        return "refused"

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Return each message deferred."""
        return [self._status.to_result(message) for message in messages]
