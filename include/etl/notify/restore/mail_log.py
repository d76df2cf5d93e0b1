"""Mail log: which deliveries a mail server accepted, and for whom, from the log of Postfix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_QUEUE_ID = r"postfix[^ ]*\[\d+\]: (?P<queue_id>[0-9A-Za-z]{6,20}): "
_MESSAGE_ID = re.compile(_QUEUE_ID + r"(?:resent-)?message-id=<delivery\.(?P<delivery_id>\d{1,18})@")
_RECIPIENT = re.compile(_QUEUE_ID + r"to=<(?P<address>[^> ]{1,320})>")
_REMOVED = re.compile(_QUEUE_ID + r"removed")


@dataclass(frozen=True)
class LoggedMail:
    """A mail that the server accepted.

    Parameters
    ----------
    delivery_id
        Its delivery.
    address
        Its recipient, in lower case.
    """

    delivery_id: int
    address: str = field(repr=False)


def read(lines: Iterable[str]) -> Iterator[LoggedMail]:
    """Return the mails of a log of Postfix; lines about other mails are skipped.

    A mail counts whatever has become of it since: the server has accepted it, so that it must not be sent again.
    """
    deliveries: dict[str, int] = {}
    for line in lines:
        if match := _MESSAGE_ID.search(line):
            deliveries[match["queue_id"]] = int(match["delivery_id"])
        elif match := _RECIPIENT.search(line):
            if (delivery_id := deliveries.get(match["queue_id"])) is not None:
                yield LoggedMail(delivery_id, match["address"].lower())
        elif match := _REMOVED.search(line):
            deliveries.pop(match["queue_id"], None)
