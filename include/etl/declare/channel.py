"""Channels that carry notices: their message parts, their pace, and the format of their addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from etl.declare.validation import require_distinct, require_identifier, require_pace, require_tuple, require_type
from etl.mail_address import is_contact_address

_JSON_OBJECT = re.compile(r"(?s)\s*\{.+\}\s*")


class AddressFormat(Enum):
    """What a well-formed address of a channel is."""

    TEXT = "text"
    """Any text that is not empty."""
    MAIL = "mail"
    """A mail address without a display name."""
    JSON = "json"
    """A JSON object."""


@dataclass(frozen=True)
class Channel:
    """A channel of notices.

    Parameters
    ----------
    name
        As in the delivery ledger: `email`, `push` or `desktop`.
    lines
        Parts of a message that are one line each; a line break in what is rendered becomes a space.
    texts
        Parts that may have many lines; those named `html` are escaped.
    pace
        Messages per second to one server, over all notices and workers.
    address
        Format of its addresses.
    """

    name: str
    lines: tuple[str, ...]
    texts: tuple[str, ...]
    pace: float
    address: AddressFormat = AddressFormat.TEXT

    def __post_init__(self) -> None:
        where = f"channel {self.name}"
        require_identifier(where, "name", self.name)
        require_tuple(where, "lines", self.lines, str)
        require_tuple(where, "texts", self.texts, str)
        require_tuple(where, "parts", self.parts, str, minimum=1)
        require_distinct(where, "its parts", self.parts)
        for part in self.parts:
            require_identifier(where, "the name of a part", part)
        require_pace(where, "pace", self.pace)
        require_type(where, "address", self.address, AddressFormat)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts; each has a template, `<channel>.<part>.jinja`."""
        return (*self.lines, *self.texts)

    def accepts(self, address: str) -> bool:
        """Return whether an address is well-formed."""
        match self.address:
            case AddressFormat.MAIL:
                return is_contact_address(address)
            case AddressFormat.JSON:
                return _JSON_OBJECT.fullmatch(address) is not None
        return bool(address)
