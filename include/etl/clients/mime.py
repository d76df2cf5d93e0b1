"""Mails as bytes, assembled from prepared headers: `EmailMessage` would be the largest cost of sending many mails."""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime, quote
from functools import lru_cache

from etl.clients.mail import MailContent
from etl.mail_address import MailAddress

_BOUNDARY = b"=_sluice_"
"""Quoted-printable text never contains `=_` (RFC 2045, 6.7), so no part can contain the boundary."""

_MAX_ENCODED_WORD_BYTES = 39
"""Bytes per encoded word in base 64, so that it fits, after the header's name, into a line of 76 (RFC 2047, 2)."""

_MAX_HEADER_LENGTH = 66
"""Characters of a header's value that fit into one line after its name."""

_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""Words that need no quotes (RFC 5322, 3.2.3)."""

_MULTIPART_HEADERS = b'Content-Type: multipart/alternative; boundary="' + _BOUNDARY + b'"\r\n\r\n'
_TEXT_PART_HEADERS = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_HTML_PART_HEADERS = b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
_BOUNDARY_START, _BOUNDARY_END = b"--" + _BOUNDARY + b"\r\n", b"--" + _BOUNDARY + b"--\r\n"


class SubjectMalformed(ValueError):
    """A subject holds a line break or another control character."""


@dataclass(frozen=True)
class MimeMessage:
    """A mail, ready to be sent.

    Parameters
    ----------
    recipients
        Addresses of its envelope.
    content
        Headers and bodies; every line ends with CRLF.
    return_path
        ASCII address of its envelope to which bounces go; empty for that of the server's sender.
    """

    recipients: Sequence[MailAddress]
    content: bytes = field(repr=False)
    return_path: str = ""

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server that supports SMTPUTF8 (RFC 6531) can accept it: an address of it is not ASCII."""
        return not self.content.isascii()


class MimeBuilder:
    """Builds the mails of one sender; the headers that they share are encoded once.

    Parameters
    ----------
    from_address
        The sender.
    """

    def __init__(self, from_address: MailAddress) -> None:
        self._domain = from_address.domain.encode()
        self._common_headers = (
            b"MIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nFrom: "
            + _format_address(from_address)
            + b"\r\n"
        )

    def build(
        self,
        mail: MailContent,
        recipients: Sequence[MailAddress],
        *,
        message_id: str,
        sent_at: datetime,
        thread_id: str = "",
        extra_headers: bytes = b"",
    ) -> MimeMessage:
        """Return a mail as bytes.

        Parameters
        ----------
        message_id, thread_id
            Identify the mail, and what it is about; ASCII without a domain, which the sender's completes. Mail programs
            discard a second mail with the same id, and group those of a thread.
        extra_headers
            Encoded headers, each ended by CRLF.

        Raises
        ------
        SubjectMalformed
            If its subject has a line break or another control character.
        UnicodeEncodeError
            If a text has half of a surrogate pair.
        """
        headers = (
            self._common_headers,
            b"To: %b\r\n" % b",\r\n ".join(map(_format_address, recipients)),
            b"Subject: %b\r\n" % _encode_header(_validated_subject(mail.subject)),
            b"Date: %b\r\n" % _format_date(sent_at.replace(microsecond=0)),
            b"Message-ID: <%b@%b>\r\n" % (message_id.encode(), self._domain),
            b"References: <%b@%b>\r\n" % (thread_id.encode(), self._domain) if thread_id else b"",
            extra_headers,
        )
        return MimeMessage(recipients, b"".join((*headers, *_build_body(mail.text, mail.html))))


def _validated_subject(subject: str) -> str:
    subject = subject.strip(" ")
    if not subject.isprintable() and any(ord(character) < ord(" ") or character == "\x7f" for character in subject):
        raise SubjectMalformed
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
    # `b2a_qp` ends its soft line breaks as the first line of the text ends, so there must be a CRLF. The line break
    # before a boundary does not belong to the text.
    return b2a_qp(lines.encode() + b"\r\n")


@lru_cache(maxsize=64)
def _format_date(at: datetime) -> bytes:
    return format_datetime(at).encode()


@lru_cache(maxsize=1024)
def _encode_header(text: str) -> bytes:
    """Return a header's text in ASCII and in short lines (RFC 2047)."""
    is_plain = text.isascii() and len(text) <= _MAX_HEADER_LENGTH and "=?" not in text and text == text.strip()
    return text.encode() if is_plain else _encode_words(text)


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
    return b"%b\r\n <%b>" % (_encode_display_name(address.display_name), address.address.encode())


def _encode_display_name(name: str) -> bytes:
    """Return a name as words or a quoted string if it is ASCII (RFC 5322, 3.2.5), else as encoded words."""
    is_plain = name.isascii() and name.isprintable() and len(name) <= _MAX_HEADER_LENGTH and "=?" not in name
    if not is_plain:
        return _encode_words(name)
    quoted = name if _PHRASE.fullmatch(name) else f'"{quote(name)}"'
    return quoted.encode() if len(quoted) <= _MAX_HEADER_LENGTH else _encode_words(name)
