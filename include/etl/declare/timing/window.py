"""Send windows: the hours and weekdays at which a message may reach its recipient."""

from dataclasses import dataclass
from datetime import time

from etl.declare.validation import require_tuple, require_type
from etl.errors import DeclarationError

EVERY_DAY = (1, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True, kw_only=True)
class SendWindow:
    """When messages may be sent, by the clock of their recipient; at other times they wait.

    Parameters
    ----------
    earliest, latest
        Times of day between which messages are sent; `latest` is exclusive, and later than `earliest`.
    weekdays
        Days on which messages are sent, as in ISO 8601: 1 is Monday, 7 is Sunday.
    """

    earliest: time
    latest: time
    weekdays: tuple[int, ...] = EVERY_DAY

    def __post_init__(self) -> None:
        for field in ("earliest", "latest"):
            value = getattr(self, field)
            require_type("window", field, value, time)
            if value.tzinfo is not None:
                raise DeclarationError(f"window: {field} is {value} with a zone; leave it out, the recipient's is used")
        if self.earliest >= self.latest:
            raise DeclarationError(f"window: latest is {self.latest}; it must be later than earliest, {self.earliest}")
        require_tuple("window", "weekdays", self.weekdays, int, minimum=1)
        if set(self.weekdays) - set(EVERY_DAY) or len(set(self.weekdays)) < len(self.weekdays):
            raise DeclarationError(
                f"window: weekdays is {self.weekdays}; write different days from 1, Monday, to 7, Sunday"
            )
