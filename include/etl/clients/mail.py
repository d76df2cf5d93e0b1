"""The content of a mail, before it has addresses or is encoded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MailContent:
    """A mail without its addresses.

    Parameters
    ----------
    subject
        One line.
    text
        The body as plain text.
    html
        The same body as HTML; empty for a mail of text only.
    """

    subject: str
    text: str
    html: str
