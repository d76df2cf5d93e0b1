"""Seed: sends real renderings to staff, to look at in their own mail programs; never to a recipient."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from etl.declare.notice import Category
from etl.errors import PermanentError
from etl.mail_address import is_contact_address
from etl.notify.channels.channel import Message, Sender, SendResult
from etl.notify.review.preview import Preview
from etl.notify.unsubscribe_links import UnsubscribeLink, UnsubscribeLinks

SUBJECT_PREFIX = "[Test] "
MAX_MAILS = 100
"""Mails of one call: a seed list is for people, not for an audience."""


class SeedInvalid(PermanentError):
    """Mails of a test cannot be sent as asked."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}, so nothing was sent.")


class StaffLinks(UnsubscribeLinks):
    """Builds links of nobody, so that staff who click on one do not unsubscribe the recipient of a sample."""

    def build(self, user_id: int, category: Category) -> UnsubscribeLink:  # noqa: ARG002 - of the overridden method
        """Return a link of the user 0, who never exists."""
        return super().build(0, category)


async def send_seed(
    previews: Sequence[Preview], addresses: Sequence[str], sender: AbstractAsyncContextManager[Sender]
) -> list[SendResult]:
    """Send the mails of previews to each address of staff; nothing is written to the ledger.

    Parameters
    ----------
    previews
        Built with `StaffLinks`.
    addresses
        Mail addresses of staff.

    Raises
    ------
    SeedInvalid
        If an address is malformed, there is no mail to send, or there are more than `MAX_MAILS`.
    """
    for address in addresses:
        if not is_contact_address(address):
            raise SeedInvalid("one of the addresses is malformed")
    mails = [each.message for preview in previews for each in preview.messages if each.channel.name == "email"]
    messages = [
        _address(mail, address, delivery_id=-(time.time_ns() // 1_000 + index))
        for index, (mail, address) in enumerate((mail, address) for mail in mails if mail for address in addresses)
    ]
    if not messages:
        raise SeedInvalid("none of the sampled recipients gets a mail of this notice")
    if len(messages) > MAX_MAILS:
        raise SeedInvalid(f"these would be {len(messages):,} mails, more than {MAX_MAILS}")
    async with sender as opened:
        return await opened.send(messages)


def _address(mail: Message, address: str, *, delivery_id: int) -> Message:
    """Return a mail to somebody else, with an id that no delivery and no other test has."""
    subject = f"{SUBJECT_PREFIX}{mail.parts['subject']}"
    return replace(mail, delivery_id=delivery_id, address=address, parts={**mail.parts, "subject": subject})
