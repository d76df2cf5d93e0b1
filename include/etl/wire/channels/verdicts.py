"""What came of a message, without saying of which, and made fit for the ledger."""

import re
from dataclasses import dataclass

from etl.wire.channels.channel import Message, Outcome, Result

_ADDRESS = re.compile(r"<?[^\s<>]+@[^\s<>]+>?")
_LONGEST = 200


@dataclass(frozen=True)
class Verdict:
    """What came of a message; the fields are those of a `Result`."""

    outcome: Outcome
    error_class: str = ""
    error: str = ""
    address_ended: bool = False

    def of(self, message: Message) -> Result:
        """Return it as that of a message."""
        return Result(message.delivery_id, self.outcome, self.error_class, self.error, self.address_ended)


class Unsendable(Exception):
    """A message cannot become what its channel carries; no server saw it.

    Parameters
    ----------
    error_class
        What is wrong, countable.
    found
        What was found, without the address.
    address_ended
        Whether the address is to blame, for good.
    """

    def __init__(self, error_class: str, found: str, *, address_ended: bool = False) -> None:
        super().__init__(found)
        self.verdict = Verdict(Outcome.FAILED, error_class, found, address_ended)


def legible(text: str, *, without: str = "") -> str:
    """Return what a server said in one line, without mail addresses, and without another address if it quotes that."""
    hidden = text.replace(without, "…") if without else text
    line = " ".join(hidden.encode(errors="replace").decode().split())
    return _ADDRESS.sub("…", line.replace("\0", ""))[:_LONGEST]
