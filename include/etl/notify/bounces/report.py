"""What a report about a mail says, wherever it comes from, and of which kind a status code is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from etl.notify.bounces.store.bounces import BounceKind
from etl.notify.channels.channel import redact_error

MAX_DETAIL_LENGTH = 500
"""Characters of a diagnostic that are read."""

_CODE = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45])\d\d(?![\d.])")
_PERMANENT = "5"
_ADDRESS_IS_WRONG = {"1.1", "1.2", "1.3", "1.6", "1.10", "2.1"}
"""No such mailbox or domain, malformed, moved, accepts no mail; mailbox disabled (RFC 3463, RFC 7505)."""
_MAILBOX, _SYSTEM, _NETWORK, _POLICY = "2", "3", "4", "7"
_MAILBOX_FULL = {"2.0", "2.1", "2.2"}


@dataclass(frozen=True)
class Report:
    """What somebody says about a mail.

    Parameters
    ----------
    kind
        What it says about the address.
    status, detail
        Enhanced status code, and the first line of the diagnostic, without addresses; both may be empty.
    recipients
        Addresses that it names as those of the mail.
    return_paths
        Texts in which the return path of the mail may stand.
    message_ids
        Message-IDs that it quotes.
    is_authentic
        Whether its sender proved who they are, so that it need not prove to know the mail.
    """

    kind: BounceKind
    status: str = ""
    detail: str = field(default="", repr=False)
    recipients: tuple[str, ...] = field(default=(), repr=False)
    return_paths: tuple[str, ...] = field(default=(), repr=False)
    message_ids: tuple[str, ...] = ()
    is_authentic: bool = False


class ReportInvalid(Exception):
    """A mail is no report of a failed delivery or a complaint; the message says what it is, in a few words."""


def classify(status: str, diagnostic: str) -> tuple[BounceKind, str]:
    """Return of which kind a failure is, and its most specific status code.

    Parameters
    ----------
    status
        Enhanced status code (RFC 3463), such as `5.1.1`; some servers write `5.0.0` for everything.
    diagnostic
        What the last server answered.
    """
    codes = [
        match for text in (status, diagnostic[:MAX_DETAIL_LENGTH]) for match in _CODE.findall(text) if match[0] != "2"
    ]
    code = next((each for each in codes if each[1:] != ("0", "0")), codes[0] if codes else None)
    if code is None:
        reply = _REPLY.search(diagnostic[:MAX_DETAIL_LENGTH])
        return (BounceKind.POLICY if reply and reply[1] == _PERMANENT else BounceKind.SOFT), reply[0] if reply else ""
    severity, subject, detail = code
    cause = f"{subject}.{detail}"
    text = f"{severity}.{cause}"
    if severity == _PERMANENT and cause in _ADDRESS_IS_WRONG:
        return BounceKind.HARD, text
    if subject == _MAILBOX:
        return (BounceKind.SOFT if cause in _MAILBOX_FULL else BounceKind.POLICY), text
    # A server that reports a transient failure has tried for days.
    is_unreached = subject == _NETWORK or (severity != _PERMANENT and subject != _POLICY)
    return (BounceKind.SOFT if is_unreached else BounceKind.POLICY), text


def first_line(diagnostic: str) -> str:
    """Return the first line of a diagnostic, without addresses."""
    lines = diagnostic[:MAX_DETAIL_LENGTH].strip().splitlines()
    return redact_error(lines[0]) if lines else ""
