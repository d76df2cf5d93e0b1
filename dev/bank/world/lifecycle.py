"""What becomes of a transaction: most card purchases are pending first, and few things stay as they were posted."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from dev.bank.world import categories
from dev.bank.world.ledger import Change, Event
from dev.bank.world.transactions import Code, Transaction

_PENDING_SHARE = 0.85
_VANISHING_SHARE = 0.04
_TIP_SHARE = 0.4
TIPPED = frozenset({"FOOD_AND_DRINK_RESTAURANT", "FOOD_AND_DRINK_COFFEE", "TRANSPORTATION_TAXIS_AND_RIDE_SHARES"})
_TIP_PERCENT = (10, 12, 15, 18, 20, 25)
_DAYS_TO_POST = (1, 1, 1, 2, 2, 3)
_LATE_SHARE = 0.08
_WITHDRAWN_SHARE = 0.008
_LATER_DAYS = 7
_SHORT = 18


class Birth(Struct, frozen=True):
    """A transaction to be, with the ids it has while pending and once posted."""

    transaction: Transaction
    on: date
    posted_id: str
    pending_id: str


def live(birth: Birth, rng: Random) -> Iterator[Event]:
    """Yield all that ever happens to a transaction, over at most ten days after its birth."""
    if birth.transaction.code is not Code.PURCHASE:
        yield _posted(birth, birth.transaction, birth.on)
        return
    if rng.random() >= _PENDING_SHARE:
        yield from _posted_card(birth, birth.transaction, birth.on, None, rng)
        return
    days = timedelta(days=rng.choice(_DAYS_TO_POST))
    ends_on = birth.on + days
    asked = replace(birth.transaction, pending=True, minor=_asked(birth.transaction, rng))
    yield Event(Change.ADDED, birth.on, asked, birth.pending_id, birth.on, until=ends_on)
    yield Event(Change.REMOVED, ends_on, asked, birth.pending_id, birth.on)
    if rng.random() >= _VANISHING_SHARE:
        posted = replace(birth.transaction, posted_at=birth.transaction.posted_at + days)
        yield from _posted_card(birth, posted, ends_on, birth.pending_id, rng)


def _asked(transaction: Transaction, rng: Random) -> int:
    if transaction.category.detailed in TIPPED and rng.random() < _TIP_SHARE:
        return max(1, transaction.minor * 100 // (100 + rng.choice(_TIP_PERCENT)))
    return transaction.minor


def _posted(
    birth: Birth, posted: Transaction, on: date, *, until: date | None = None, pending_id: str | None = None
) -> Event:
    return Event(Change.ADDED, on, posted, birth.posted_id, on, until, pending_id)


def _posted_card(birth: Birth, posted: Transaction, on: date, pending_id: str | None, rng: Random) -> Iterator[Event]:
    fate = rng.random()
    later = on + timedelta(days=rng.randint(1, _LATER_DAYS))
    if fate < _WITHDRAWN_SHARE:
        yield _posted(birth, posted, on, until=later, pending_id=pending_id)
        yield Event(Change.REMOVED, later, posted, birth.posted_id, on, None, pending_id)
    elif fate < _WITHDRAWN_SHARE + _LATE_SHARE and posted.merchant is not None:
        yield _posted(birth, _unrecognised(posted), on, until=later, pending_id=pending_id)
        yield Event(Change.MODIFIED, later, posted, birth.posted_id, on, None, pending_id)
    else:
        yield _posted(birth, posted, on, pending_id=pending_id)


def _unrecognised(posted: Transaction) -> Transaction:
    return replace(
        posted, merchant=None, place=None, name=f"{posted.name[:18].rstrip()} *", category=categories.UNNAMED
    )
