"""Media: the kinds of channels that carry notices, and what each needs to know."""

from __future__ import annotations

import re
from dataclasses import dataclass

from etl.declare.validation import require_identifier, require_pace, require_tuple, require_type
from etl.errors import DeclarationError


@dataclass(frozen=True)
class Channel:
    """A kind of channel.

    Parameters
    ----------
    name
        As the ledger knows it: `email`, `push` or `desktop`.
    lines
        Parts of a message that are one line each; a line break in what is rendered becomes a space.
    texts
        Parts that may have many lines; those named `html` are escaped.
    pace
        Messages a second to one server, over all notices and workers.
    address
        Pattern that a well-formed address matches from beginning to end.
    """

    name: str
    lines: tuple[str, ...]
    texts: tuple[str, ...]
    pace: float
    address: str = r"(?s).+"

    def __post_init__(self) -> None:
        where = f"medium {self.name}"
        require_identifier(where, "name", self.name)
        require_tuple(where, "lines", self.lines, str)
        require_tuple(where, "texts", self.texts, str)
        require_pace(where, "pace", self.pace)
        require_type(where, "address", self.address, str)
        try:
            re.compile(self.address)
        except re.error as error:
            raise DeclarationError(f"{where}: address is {self.address!r}, no pattern: {error}; mend it") from None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts; each has a template, `<medium>.<part>.jinja`."""
        return (*self.lines, *self.texts)

    def accepts(self, address: str) -> bool:
        """Return whether an address is well-formed."""
        return re.fullmatch(self.address, address) is not None
