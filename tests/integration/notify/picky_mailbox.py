"""A mailbox that refuses the messages to some domains."""

from __future__ import annotations

from dataclasses import replace

from etl.notify.channels.channel import Message, SendOutcome, SendResult
from tests.integration.notify.notice_harness import Mailbox

REFUSED = SendResult(0, SendOutcome.FAILED, "550", "550 5.1.1 no such user", is_address_invalid=True)


class PickyMailbox(Mailbox):
    """Refuses the messages to some domains, or all."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.answer = REFUSED
        self.tried = 0

    def _receive(self, message: Message) -> SendResult:
        self.tried += 1
        if {"*", message.address.rpartition("@")[2]} & self.refused:
            return replace(self.answer, delivery_id=message.delivery_id)
        return super()._receive(message)
