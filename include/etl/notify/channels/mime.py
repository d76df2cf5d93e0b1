"""Mails as bytes, filled into a skeleton that is made once; built one by one with `EmailMessage`, they are the cost."""

from __future__ import annotations

from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache

from etl.notify.channels.address import AddressMalformed, MailAddress, parse_address
from etl.notify.channels.channel import Message, MessageUnsendable

_BOUNDARY = b"=_sluice_"
"""Quoted-printable text never holds `=_` (RFC 2045, 6.7), so that no part can hold it."""

_MAX_ENCODED_WORD_BYTES = 39
"""Bytes of an encoded word in base 64 that fits, beside the header's name, into a line of 76 (RFC 2047, 2)."""

_MAX_HEADER_LENGTH = 66
"""Characters of a header that fit into its line beside its name."""

_MAX_URL_LENGTH = 900
_MULTIPART_HEADERS = b'Content-Type: multipart/alternative; boundary="' + _BOUNDARY + b'"\r\n\r\n'
_TEXT_PART_HEADERS = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML_PART_HEADERS = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_BOUNDARY_START, _BOUNDARY_END = b"--" + _BOUNDARY + b"\r\n", b"--" + _BOUNDARY + b"--\r\n"


@dataclass(frozen=True)
class MimeMessage:
    """A mail, ready to be handed over.

    Parameters
    ----------
    to
        Who gets it.
    content
        Headers and bodies, every line ended by CRLF.
    """

    to: MailAddress
    content: bytes = field(repr=False)


class MimeBuilder:
    """What the mails of one sender have in common.

    Parameters
    ----------
    from_address
        Who they are from.
    """

    def __init__(self, from_address: MailAddress) -> None:
        self._domain = from_address.domain.encode()
        self._common_headers = (
            b"MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nFrom: "
            + _format_address(from_address)
            + b"\r\n"
        )

    def build(self, message: Message, *, sent_at: datetime) -> MimeMessage:
        """Return a message as a mail that is sent at an instant; its id is that of its delivery, whenever it is sent.

        Raises
        ------
        Unsendable
            If its address, its subject or its link cannot stand in a header, or a part is missing.
        """
        try:
            to = parse_address(message.address)
        except AddressMalformed as error:
            raise MessageUnsendable("AddressMalformed", str(error)) from None
        parts = message.parts
        try:
            head = (
                self._common_headers,
                b"To: %b\r\nSubject: %b\r\n" % (_format_address(to), _encode_header(_validated_subject(parts))),
                b"Date: %b\r\nMessage-ID: <delivery.%d@%b>\r\n"
                % (_format_date(sent_at.replace(microsecond=0)), message.delivery_id, self._domain),
                _list_unsubscribe_headers(message) if message.unsubscribe_url else b"",
            )
            return MimeMessage(to, b"".join((*head, *_build_body(parts["text"], parts.get("html", "")))))
        except KeyError as error:
            raise MessageUnsendable("PartMissing", f"its template renders no {error}") from None
        except UnicodeEncodeError:
            raise MessageUnsendable("TextMalformed", "its text holds half of a surrogate pair") from None


def _validated_subject(parts: Mapping[str, str]) -> str:
    subject = parts["subject"]
    if not subject.isprintable() and any(ord(character) < ord(" ") or character == "\x7f" for character in subject):
        raise MessageUnsendable("SubjectMalformed", "its subject holds a line break or another control character")
    return subject


def _build_body(text: str, html: str) -> tuple[bytes, ...]:
    if not html:
        return _TEXT_PART_HEADERS, _encode_quoted_printable(text)
    return (
        _MULTIPART_HEADERS,
        _BOUNDARY_START,
        _TEXT_PART_HEADERS,
        _encode_quoted_printable(text),
        _BOUNDARY_START,
        _HTML_PART_HEADERS,
        _encode_quoted_printable(html),
        _BOUNDARY_END,
    )


def _encode_quoted_printable(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    # It ends lines of its own as the first of the text is ended, so that there must be one; the line break before a
    # boundary is not of the text.
    return b2a_qp(lines.encode() + b"\r\n")


def _list_unsubscribe_headers(message: Message) -> bytes:
    """Return links that mailboxes show as a button (RFC 2369); the first they may use without opening it (RFC 8058).

    What is preferred stands first. The second header promises that a POST suffices, which only https can keep.
    """
    url, mailto = message.unsubscribe_url, message.unsubscribe_mailto
    if not url.startswith("https://") or not _is_header_safe(url):
        raise MessageUnsendable("LinkMalformed", "its link to unsubscribe is no https URL of a line")
    if mailto and not (mailto.startswith("mailto:") and _is_header_safe(mailto)):
        raise MessageUnsendable("LinkMalformed", "its mail to unsubscribe is no mailto URL of a line")
    links = b"<%b>,\r\n <%b>" % (url.encode(), mailto.encode()) if mailto else b"<%b>" % url.encode()
    return b"List-Unsubscribe: %b\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: bulk\r\n" % links


def _is_header_safe(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set("<> ") and len(url) <= _MAX_URL_LENGTH


@lru_cache(maxsize=64)
def _format_date(at: datetime) -> bytes:
    return format_datetime(at).encode()


@lru_cache(maxsize=1024)
def _encode_header(text: str) -> bytes:
    """Return a header's text in ASCII and in short lines (RFC 2047)."""
    legible = text.isascii() and len(text) <= _MAX_HEADER_LENGTH and "=?" not in text and text == text.strip()
    return text.encode() if legible else _encode_words(text)


def _encode_words(text: str) -> bytes:
    words, word = [], b""
    for character in text:
        encoded = character.encode()
        if len(word) + len(encoded) > _MAX_ENCODED_WORD_BYTES:
            words.append(word)
            word = b""
        word += encoded
    return b"\r\n ".join(b"=?utf-8?b?%b?=" % b64encode(word) for word in (*words, word))


def _format_address(address: MailAddress) -> bytes:
    if not address.display_name:
        return b"<%b>" % address.address.encode()
    return b"%b\r\n <%b>" % (_encode_words(address.display_name), address.address.encode())
