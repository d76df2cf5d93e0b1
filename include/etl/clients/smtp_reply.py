"""What a reply of a mail server means: for now or for ever, and for whom.

| reply | to | means | concerns |
|---|---|---|---|
| no connection, no reply, 421, 454, 521 | any command | later; 521: never | the server |
| any other 4xx, 5xx | greeting, EHLO, AUTH, MAIL | later, never | the server |
| 450, 451, 4.2.x, 4.7.1; 5.2.x | RCPT, DATA, the mail | greylisting, full mailbox: later; never | the recipient |
| 452, x.3.x, x.5.x, x.1.7, x.1.8 | RCPT, DATA, the mail | no room, too many recipients, bad sender | the server |
| other 4.7.x; 4.4.x, 5.4.x | RCPT, DATA, the mail | throttling, policy; no route | the destination |
| 5.1.1, 5.1.6, 5.1.10 | RCPT | never: no such mailbox; the address is invalid | the recipient |
| 5.7.x, 554, 556 | RCPT | never: policy, spam | the destination |
| 5.7.x, 550, 554 | DATA, the mail | never: policy, spam | the server |
| 5.3.4, x.6.x | the mail | never: too large, malformed | the recipient |
| any other | RCPT, DATA, the mail | 4xx later, 5xx never | the recipient |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum

_POSITIVE, _TRANSIENT, _PERMANENT = 2, 4, 5
"""First digits of reply codes (RFC 5321, 4.2.1)."""

_ENHANCED_CODE = re.compile(r"[245]\.(\d{1,3})\.(\d{1,3})\b")
_MAX_TEXT_LENGTH = 2_000
"""Characters of a reply that are kept; a server may send sixteen times as many."""

_SERVICE_CLOSING, _NO_ROOM, _UNAVAILABLE_NOW = 421, 452, 454
_UNAVAILABLE, _HOST_ACCEPTS_NO_MAIL, _FAILED, _DOMAIN_ACCEPTS_NO_MAIL = 550, 521, 554, 556
_OF_SERVER = {_SERVICE_CLOSING, _UNAVAILABLE_NOW, _HOST_ACCEPTS_NO_MAIL}
_OF_ALL = {_FAILED, _DOMAIN_ACCEPTS_NO_MAIL}
_THROTTLING = {_SERVICE_CLOSING, _NO_ROOM, _UNAVAILABLE_NOW}
_NO_SUCH_MAILBOX = {1, 6, 10}
"""The mailbox does not exist, has moved, or its domain accepts no mail (RFC 3463, 3.2, and RFC 7505)."""
_GREYLISTED = 1
"""4.7.1 says "refused by policy"; servers that greylist use it (RFC 6647, 5)."""


class SmtpOutcome(Enum):
    """Whether a server has accepted a mail."""

    SENT = "sent"
    """It accepted the mail."""
    FAILED = "failed"
    """It rejected the mail permanently."""
    DEFERRED = "deferred"
    """It has not accepted the mail, and may accept it later."""
    UNKNOWN = "unknown"
    """The connection broke between the end of the mail and the reply."""


class SmtpScope(Enum):
    """Whom a refusal concerns."""

    RECIPIENT = "recipient"
    DESTINATION = "destination"
    """All recipients of the same mail domain."""
    SERVER = "server"
    """All mails through the server."""


class SmtpStage(IntEnum):
    """What a server has replied to, in the order of a mail."""

    CONNECT = 0
    """The connection, EHLO, STARTTLS or AUTH."""
    MAIL = 1
    RCPT = 2
    DATA = 3
    CONTENT = 4
    """The mail itself."""


class _Subject(IntEnum):
    """Second numbers of enhanced codes (RFC 3463, 3.1)."""

    NONE = 0
    ADDRESS = 1
    MAILBOX = 2
    SYSTEM = 3
    NETWORK = 4
    PROTOCOL = 5
    CONTENT = 6
    POLICY = 7


_SCOPES: dict[tuple[int, int | None], SmtpScope] = {
    # Addresses 7 and 8 are the sender's; 5.3.4 and 4.3.4 are of a mail that is too large.
    (_Subject.ADDRESS, 7): SmtpScope.SERVER,
    (_Subject.ADDRESS, 8): SmtpScope.SERVER,
    (_Subject.SYSTEM, 4): SmtpScope.RECIPIENT,
    (_Subject.SYSTEM, None): SmtpScope.SERVER,
    (_Subject.NETWORK, None): SmtpScope.DESTINATION,
    (_Subject.PROTOCOL, None): SmtpScope.SERVER,
}
"""Subject and detail of an enhanced code (None: any other detail) → whom it concerns, if not the recipient."""


@dataclass(frozen=True)
class SmtpResult:
    """The result of sending one mail.

    Parameters
    ----------
    outcome
        Whether the server has accepted it.
    error_class
        Short and countable, such as `550` or `ConnectionLost`; empty if it was sent.
    error
        What the server replied; may quote addresses.
    is_mailbox_unknown
        Whether the server said that the recipient's mailbox does not exist.
    scope
        Whom a refusal concerns.
    stage
        How far it came.
    is_reply
        Whether the server replied at all.
    is_throttled
        Whether it asked to slow down.
    """

    outcome: SmtpOutcome
    error_class: str = ""
    error: str = ""
    is_mailbox_unknown: bool = False
    scope: SmtpScope = SmtpScope.RECIPIENT
    stage: SmtpStage = SmtpStage.CONTENT
    is_reply: bool = True
    is_throttled: bool = False


def classify(stage: SmtpStage, code: int, text: str, *, default: SmtpOutcome = SmtpOutcome.DEFERRED) -> SmtpResult:
    """Return a refusal as a result; `default` is the outcome of a code that means neither later nor never."""
    kind = code // 100
    match = _ENHANCED_CODE.match(text)
    subject, detail = (int(match[1]), int(match[2])) if match else (_Subject.NONE.value, 0)
    is_mailbox_unknown = (
        kind == _PERMANENT and stage is SmtpStage.RCPT and subject == _Subject.ADDRESS and detail in _NO_SUCH_MAILBOX
    )
    scope = _find_scope(stage, code, subject, detail)
    return SmtpResult(
        {_TRANSIENT: SmtpOutcome.DEFERRED, _PERMANENT: SmtpOutcome.FAILED}.get(kind, default),
        str(code),
        text[:_MAX_TEXT_LENGTH],
        is_mailbox_unknown,
        scope,
        stage,
        is_throttled=kind == _TRANSIENT
        and scope is not SmtpScope.RECIPIENT
        and (subject == _Subject.POLICY or (code in _THROTTLING and subject in (_Subject.NONE, _Subject.PROTOCOL))),
    )


def _find_scope(stage: SmtpStage, code: int, subject: int, detail: int) -> SmtpScope:
    if stage <= SmtpStage.MAIL or code in _OF_SERVER:
        return SmtpScope.SERVER
    if subject not in (_Subject.NONE, _Subject.POLICY):
        return _SCOPES.get((subject, detail)) or _SCOPES.get((subject, None), SmtpScope.RECIPIENT)
    if code // 100 == _PERMANENT:
        is_of_all = subject == _Subject.POLICY or code in _OF_ALL or (code == _UNAVAILABLE and stage > SmtpStage.RCPT)
        of_all = SmtpScope.DESTINATION if stage is SmtpStage.RCPT else SmtpScope.SERVER
        return of_all if is_of_all else SmtpScope.RECIPIENT
    if subject == _Subject.POLICY:
        return SmtpScope.RECIPIENT if detail == _GREYLISTED else SmtpScope.DESTINATION
    return SmtpScope.SERVER if code == _NO_ROOM else SmtpScope.RECIPIENT
