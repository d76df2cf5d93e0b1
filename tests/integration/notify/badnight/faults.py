"""The faults of a bad night: what the servers do wrong, and how the run must end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from aiohttp import web

from etl.catalog.channels import DESKTOP, EMAIL, PUSH
from etl.declare.channel import Channel
from tests.integration.notify.channels.faulty_smtp import SmtpFaults
from tests.integration.notify.channels.firebase import refusal
from tests.integration.notify.channels.push_faults import PushFaults

DESTINATIONS = 10
"""Mail domains, or push services, over which the recipients are spread."""

ILL_DESTINATION = 3
"""The one that is ill if a fault meets one of them."""

_FIREBASE_NAMES = {403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


def mail_domain(number: int) -> str:
    """Return the name of a mail domain."""
    return f"d{number}.example"


@dataclass(frozen=True)
class Fault:
    """A fault, and what it may cost.

    Parameters
    ----------
    name
        Unique; the first column of the table.
    channel
        Channel of the notice.
    faults
        What the servers do wrong.
    heals_after
        Time after which they are healthy; None for never, or as their faults say.
    is_one_ill
        Whether one of ten destinations is ill, and the others are healthy.
    is_total
        Whether nothing is ever accepted, so that the run must fail.
    is_ill_left_out
        Whether the recipients at the ill destination are left out.
    may_expire, may_fail
        Whether some messages may end so.
    max_doubts
        How many messages may end as unknown.
    expiry
        Of the messages, in addition to the time in which healthy servers take them; None for never.
    patience
        Of the notice.
    """

    name: str
    channel: Channel
    faults: SmtpFaults | PushFaults
    heals_after: timedelta | None = None
    is_one_ill: bool = False
    is_total: bool = False
    is_ill_left_out: bool = False
    may_expire: bool = False
    may_fail: bool = False
    max_doubts: int = 0
    expiry: timedelta | None = None
    patience: timedelta = timedelta(minutes=10)

    def without_ill_destination(self) -> Fault:
        """Return the same servers without a fault, and without the recipients whose destination would be ill."""
        return replace(
            self,
            name=f"{self.name}, alone",
            faults=type(self.faults)(share=0) if isinstance(self.faults, PushFaults) else SmtpFaults(),
            is_ill_left_out=True,
            expiry=None,
            heals_after=None,
        )


def _refuse_as_firebase(status: int, retry_after: str) -> web.Response:
    name = _FIREBASE_NAMES[status]
    return refusal(status, name, "QUOTA_EXCEEDED" if status == 429 else name, retry_after=retry_after)


def _firebase(status: int, **options: object) -> PushFaults:
    return PushFaults(status=status, refuse=_refuse_as_firebase, **options)  # type: ignore[arg-type]


_GREYLISTED = timedelta(seconds=0.5)
_SOON = timedelta(seconds=1.5)
_SHORT_PATIENCE = timedelta(seconds=2)
_SHORT_EXPIRY = timedelta(seconds=3)
_ANY = 1_000_000
_MAX_SILENT = 120
"""Two senders with 32 requests at a time, and some probes."""
_SMTP = (
    Fault("SMTP: healthy", EMAIL, SmtpFaults()),
    Fault("SMTP: greylists a fifth", EMAIL, SmtpFaults(greylisted=0.2, greylisted_for=_GREYLISTED)),
    Fault(
        "SMTP: greylists a fifth, and allows 2 connections",
        EMAIL,
        SmtpFaults(greylisted=0.2, greylisted_for=_GREYLISTED, max_connections=2),
    ),
    Fault("SMTP: takes 250 mails a second (454)", EMAIL, SmtpFaults(mails_per_second=250)),
    Fault("SMTP: allows 3 connections (421)", EMAIL, SmtpFaults(max_connections=3)),
    Fault("SMTP: 421 at random, and hangs up", EMAIL, SmtpFaults(closed=0.1)),
    Fault("SMTP: drips its replies", EMAIL, SmtpFaults(dripping=0.05)),
    Fault("SMTP: does not answer 1 % at first", EMAIL, SmtpFaults(hanging=0.01)),
    Fault("SMTP: resets 5 % after DATA", EMAIL, SmtpFaults(reset=0.05), max_doubts=_ANY),
    Fault("SMTP: 421 for everybody, then healthy", EMAIL, SmtpFaults(refuses_until=_SOON)),
    Fault("SMTP: 550 for everybody, then healthy", EMAIL, SmtpFaults(refused=1), heals_after=_SOON),
    Fault(
        "SMTP: 550 for everybody, for ever",
        EMAIL,
        SmtpFaults(refused=1),
        is_total=True,
        may_fail=True,
        patience=_SHORT_PATIENCE,
    ),
    Fault(
        "SMTP: 1 of 10 domains does not answer",
        EMAIL,
        SmtpFaults(hanging_domain=mail_domain(ILL_DESTINATION)),
        is_one_ill=True,
        may_expire=True,
        expiry=_SHORT_EXPIRY,
    ),
    Fault(
        "SMTP: 1 of 10 domains refuses (550)",
        EMAIL,
        # Fewer than ten refusals in a row are believed, as those of single bad addresses.
        SmtpFaults(refused_domain=mail_domain(ILL_DESTINATION)),
        is_one_ill=True,
        may_expire=True,
        may_fail=True,
        expiry=_SHORT_EXPIRY,
    ),
)
_FCM = (
    Fault("FCM: healthy", PUSH, PushFaults(share=0)),
    Fault("FCM: 429 for 1 in 50, with Retry-After", PUSH, _firebase(429, share=0.02, retry_after="1")),
    Fault("FCM: 429 for 1 in 50, without Retry-After", PUSH, _firebase(429, share=0.02)),
    Fault("FCM: 503 for 1 in 50, twice", PUSH, _firebase(503, share=0.02, tries=2)),
    Fault("FCM: 403 for everybody, then healthy", PUSH, _firebase(403, tries=None), heals_after=_SOON),
    Fault(
        "FCM: 403 for everybody, for ever",
        PUSH,
        _firebase(403, tries=None),
        is_total=True,
        may_fail=True,
        patience=_SHORT_PATIENCE,
    ),
    Fault(
        "FCM: silent, then healthy", PUSH, PushFaults(status=0, tries=None), heals_after=_SOON, max_doubts=_MAX_SILENT
    ),
)
_WEB_PUSH = (
    Fault("Web Push: healthy", DESKTOP, PushFaults(share=0)),
    Fault(
        "Web Push: 1 of 10 services says 429, then heals",
        DESKTOP,
        PushFaults(status=429, retry_after="1", tries=None),
        heals_after=_SOON,
        is_one_ill=True,
    ),
    Fault(
        "Web Push: 1 of 10 services is silent",
        DESKTOP,
        PushFaults(status=0, tries=None),
        is_one_ill=True,
        may_expire=True,
        max_doubts=_MAX_SILENT,
        expiry=_SHORT_EXPIRY,
    ),
)
FAULTS = (*_SMTP, *_FCM, *_WEB_PUSH)
"""In the order of the table."""
