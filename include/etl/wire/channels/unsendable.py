"""Messages that are refused before any server sees them."""

from etl.wire.channels.channel import Message, Outcome, Result


class Unsendable(Exception):
    """A message cannot become what its channel carries.

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
        self.error_class = error_class
        self.address_ended = address_ended

    def result(self, message: Message) -> Result:
        """Return what came of it."""
        return Result(message.delivery_id, Outcome.FAILED, self.error_class, str(self), self.address_ended)
