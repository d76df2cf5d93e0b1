"""Mails as bytes, filled into a skeleton that is made once; built one by one with `EmailMessage`, they are the cost."""

from __future__ import annotations

from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from etl.notify.channels.address import AddressMalformed, Mailbox, parse
from etl.notify.channels.channel import Message, Unsendable

_BOUNDARY = b"=_sluice_"
"""Quoted-printable text never holds `=_` (RFC 2045, 6.7), so that no part can hold it."""

_ENCODED_TEXT = 39
"""Bytes of an encoded word in base 64 that fits, beside the header's name, into a line of 76 (RFC 2047, 2)."""

_SHORT = 66
"""Characters of a header that fit into its line beside its name."""

_LONGEST_URL = 900
_MULTIPART = b'Content-Type: multipart/alternative; boundary="' + _BOUNDARY + b'"\r\n\r\n'
_PLAIN = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_OPEN, _CLOSE = b"--" + _BOUNDARY + b"\r\n", b"--" + _BOUNDARY + b"--\r\n"


@dataclass(frozen=True)
class Letter:
    """A mail, ready to be handed over.

    Parameters
    ----------
    to
        Who gets it.
    content
        Headers and bodies, every line ended by CRLF.
    """

    to: Mailbox
    content: bytes = field(repr=False)


class Skeleton:
    """What the mails of one sender have in common.

    Parameters
    ----------
    sender
        Who they are from.
    """

    def __init__(self, sender: Mailbox) -> None:
        self._domain = sender.domain.encode()
        self._fixed = (
            b"MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nFrom: "
            + _named(sender)
            + b"\r\n"
        )

    def fill(self, message: Message, *, at: datetime) -> Letter:
        """Return a message as a mail that is sent at an instant; its id is that of its delivery, whenever it is sent.

        Raises
        ------
        Unsendable
            If its address, its subject or its link cannot stand in a header, or a part is missing.
        """
        try:
            to = parse(message.address)
        except AddressMalformed as error:
            raise Unsendable("AddressMalformed", str(error)) from None
        parts = message.parts
        try:
            head = (
                self._fixed,
                b"To: %b\r\nSubject: %b\r\n" % (_named(to), _unstructured(_subject(parts))),
                b"Date: %b\r\nMessage-ID: <delivery.%d@%b>\r\n"
                % (_date(at.replace(microsecond=0)), message.delivery_id, self._domain),
                _unsubscribing(message) if message.unsubscribe_url else b"",
            )
            return Letter(to, b"".join((*head, *_body(parts["text"], parts.get("html", "")))))
        except KeyError as error:
            raise Unsendable("PartMissing", f"its template renders no {error}") from None
        except UnicodeEncodeError:
            raise Unsendable("TextMalformed", "its text holds half of a surrogate pair") from None


def _subject(parts: Mapping[str, str]) -> str:
    subject = parts["subject"]
    if not subject.isprintable() and any(ord(character) < ord(" ") or character == "\x7f" for character in subject):
        raise Unsendable("SubjectMalformed", "its subject holds a line break or another control character")
    return subject


def _body(text: str, html: str) -> tuple[bytes, ...]:
    if not html:
        return _PLAIN, _quoted(text)
    return _MULTIPART, _OPEN, _PLAIN, _quoted(text), _OPEN, _HTML, _quoted(html), _CLOSE


def _quoted(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    # It ends lines of its own as the first of the text is ended, so that there must be one; the line break before a
    # boundary is not of the text.
    return b2a_qp(lines.encode() + b"\r\n")


def _unsubscribing(message: Message) -> bytes:
    """Return links that mailboxes show as a button (RFC 2369); the first they may use without opening it (RFC 8058).

    What is preferred stands first. The second header promises that a POST suffices, which only https can keep.
    """
    url, mailto = message.unsubscribe_url, message.unsubscribe_mailto
    if not url.startswith("https://") or not _is_line(url):
        raise Unsendable("LinkMalformed", "its link to unsubscribe is no https URL of a line")
    if mailto and not (mailto.startswith("mailto:") and _is_line(mailto)):
        raise Unsendable("LinkMalformed", "its mail to unsubscribe is no mailto URL of a line")
    links = b"<%b>,\r\n <%b>" % (url.encode(), mailto.encode()) if mailto else b"<%b>" % url.encode()
    return b"List-Unsubscribe: %b\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: bulk\r\n" % links


def _is_line(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set("<> ") and len(url) <= _LONGEST_URL


@lru_cache(maxsize=64)
def _date(at: datetime) -> bytes:
    return format_datetime(at).encode()


@lru_cache(maxsize=1024)
def _unstructured(text: str) -> bytes:
    """Return a header's text in ASCII and in short lines (RFC 2047)."""
    legible = text.isascii() and len(text) <= _SHORT and "=?" not in text and text == text.strip()
    return text.encode() if legible else _encoded_words(text)


def _encoded_words(text: str) -> bytes:
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _ENCODED_TEXT:
            words.append(word)
            word = b""
        word += encoded
    return b"\r\n ".join(b"=?utf-8?b?%b?=" % b64encode(word) for word in (*words, word))


def _named(mailbox: Mailbox) -> bytes:
    if not mailbox.name:
        return b"<%b>" % mailbox.address.encode()
    return b"%b\r\n <%b>" % (_encoded_words(mailbox.name), mailbox.address.encode())
