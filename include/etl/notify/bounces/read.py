"""Reads reports from mails: of failed deliveries (RFC 3464, RFC 6533), and complaints of recipients (RFC 5965).

Anybody can send such a mail, so its size and the number of its parts are bounded before the library parses it. Bounces
in words of their own are not read: their senders are few, and libraries that guess at them also match other mails.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesParser, HeaderParser
from email.policy import compat32
from itertools import islice

from etl.notify.bounces.report import Report, ReportInvalid, classify, first_line
from etl.notify.bounces.store.bounces import BounceKind

MAX_BYTES = 256 * 1024
"""Of a mail, what is read: what it says precedes the mail that it is about."""

MAX_PARTS = 30
MAX_RECIPIENTS = 10
_MAX_VALUE_LENGTH = 1_000
"""Characters of a header that are read."""

_REPORT_TYPE = re.compile(rb"(?i)message/((?:global-)?delivery-status|feedback-report)")
_CONTAINER = re.compile(rb"(?i)(?:multipart|message)/")
_BLANK_LINES = re.compile(r"(?:\r?\n){2,}")
_UNICODE_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}>")
_DELIVERY_STATUS = {"text/delivery-status", "text/global-delivery-status"}
_FEEDBACK = "text/feedback-report"
_RETURNED = {"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"}
_ENVELOPE_HEADERS = ("To", "Delivered-To", "X-Original-To", "Envelope-To")
_COMPLAINTS = {"abuse", "fraud", "virus", "opt-out"}
"""Types of feedback that mean: this recipient wants no more of these. Others are about the sender's setup."""


def read_report(content: bytes) -> Report:
    """Return what a mail reports.

    Raises
    ------
    ReportInvalid
        If it reports no failed delivery and no complaint, or cannot be read.
    """
    content = content[:MAX_BYTES]
    if len(_CONTAINER.findall(content)) > MAX_PARTS:
        raise ReportInvalid("it has too many parts")
    try:
        # As text, they are decoded like other parts; the library would parse them as mails, and ignore their encoding.
        return _read(BytesParser(policy=compat32).parsebytes(_REPORT_TYPE.sub(rb"text/\1", content)))
    except ReportInvalid:
        raise
    except Exception as error:  # whatever a hostile mail makes the library raise
        raise ReportInvalid(f"it cannot be parsed ({type(error).__name__})") from error


def _read(mail: Message) -> Report:
    parts = list(islice(_parts(mail), MAX_PARTS))
    returned = [_returned_headers(part) for part in parts if part.get_content_type() in _RETURNED]
    return_paths = [
        *(value for name in _ENVELOPE_HEADERS for value in _values(mail, name)),
        *(value for headers in returned for value in _values(headers, "Return-Path")),
    ]
    message_ids = [
        message_id
        for headers in returned
        for value in _values(headers, "Message-ID")
        for message_id in _MESSAGE_ID.findall(value)
    ]
    for part in parts:
        if part.get_content_type() in _DELIVERY_STATUS:
            return _read_failure(_blocks(part), return_paths, message_ids)
        if part.get_content_type() == _FEEDBACK:
            return _read_complaint(_blocks(part), return_paths, message_ids)
    raise ReportInvalid("it is no delivery report and no complaint")


def _read_failure(blocks: list[Message], return_paths: list[str], message_ids: list[str]) -> Report:
    failures = [block for block in blocks if _value(block, "Action").lower() == "failed"]
    if not failures:
        actions = {_value(block, "Action").lower() for block in blocks} & {
            "delayed",
            "delivered",
            "relayed",
            "expanded",
        }
        raise ReportInvalid(f"it reports no failure, but {' and '.join(sorted(actions)) or 'nothing'}")
    diagnostic = _without_type(_value(failures[0], "Diagnostic-Code"))
    kind, status = classify(_value(failures[0], "Status"), diagnostic)
    return Report(
        kind,
        status,
        first_line(diagnostic),
        tuple(_addresses(failures, "Original-Recipient", "Final-Recipient")),
        tuple(return_paths),
        tuple(message_ids),
    )


def _read_complaint(blocks: list[Message], return_paths: list[str], message_ids: list[str]) -> Report:
    feedback_type = next((value for block in blocks if (value := _value(block, "Feedback-Type").lower())), "")
    if feedback_type not in _COMPLAINTS:
        raise ReportInvalid(f"it is feedback of the type {feedback_type[:40] or '(none)'!r}, and no complaint")
    senders = [value for block in blocks for value in _values(block, "Original-Mail-From")]
    recipients = _addresses(blocks, "Original-Rcpt-To", "Removal-Recipient")
    return Report(
        BounceKind.COMPLAINT,
        feedback_type,
        "",
        tuple(recipients),
        (*senders, *return_paths),
        tuple(message_ids),
    )


def _parts(mail: Message) -> Iterator[Message]:
    """Yield the parts of a mail, but not those of the mail that it is about."""
    stack = [mail]
    while stack:
        part = stack.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            stack.extend(reversed(_children(part)))
        else:
            yield part


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _returned_headers(part: Message) -> Message:
    """Return the headers of the mail that a report is about."""
    children = _children(part)
    return children[0] if children else HeaderParser(policy=compat32).parsestr(_text(part))


def _blocks(part: Message) -> list[Message]:
    """Return the groups of fields of a part: those of the mail, and those of each recipient."""
    blocks = _BLANK_LINES.split(_text(part).strip(), maxsplit=MAX_RECIPIENTS)[:MAX_RECIPIENTS]
    return [HeaderParser(policy=compat32).parsestr(block) for block in blocks]


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", errors="replace") if isinstance(payload, bytes) else ""


def _addresses(blocks: list[Message], *names: str) -> Iterator[str]:
    """Yield the addresses in fields such as `rfc822; joe@example.org`, without the escapes of RFC 6533."""
    for block in blocks:
        for name in names:
            for value in _values(block, name):
                address = _UNICODE_ESCAPE.sub(_unescape, _without_type(value)).strip("<> ")
                if "@" in address and address.isprintable():
                    yield address


def _unescape(match: re.Match[str]) -> str:
    # Half of a surrogate pair is no character, and makes its address unprintable.
    return chr(min(int(match[1], 16), sys.maxunicode))


def _without_type(value: str) -> str:
    """Return the value of a field without the type before its semicolon."""
    before, semicolon, after = value.partition(";")
    return (after if semicolon and "@" not in before and " " not in before.strip() else value).strip()


def _value(headers: Message, name: str) -> str:
    return next(iter(_values(headers, name)), "")


def _values(headers: Message, name: str) -> list[str]:
    return [str(value)[:_MAX_VALUE_LENGTH].strip() for value in headers.get_all(name, [])[:MAX_RECIPIENTS]]
