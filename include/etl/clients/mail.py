"""A mail, before anybody knows how it is sent."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MailContent:
    """A mail without its addresses.

    Parameters
    ----------
    subject
        One line.
    text, html
        The same twice.
    """

    subject: str
    text: str
    html: str
