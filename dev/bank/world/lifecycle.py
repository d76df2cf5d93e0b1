"""The events of a transaction: most card purchases are pending first, and some change after they are posted."""

from collections.abc import Iterator
from datetime import date, timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from dev.bank.world import categories
from dev.bank.world.ledger import Change, Event
from dev.bank.world.transactions import Transaction, TransactionCode

_PENDING_SHARE = 0.85
_CANCELLED_SHARE = 0.04
_TIP_SHARE = 0.4
TIPPED_CATEGORIES = frozenset(
    {"FOOD_AND_DRINK_RESTAURANT", "FOOD_AND_DRINK_COFFEE", "TRANSPORTATION_TAXIS_AND_RIDE_SHARES"}
)
_TIP_PERCENT = (10, 12, 15, 18, 20, 25)
_DAYS_TO_POST = (1, 1, 1, 2, 2, 3)
_LATE_ENRICHMENT_SHARE = 0.08
_REMOVED_SHARE = 0.008
_MAX_DAYS_TO_CHANGE = 7
_SHORT_NAME_LENGTH = 18


class NewTransaction(Struct, frozen=True):
    """A transaction to create, with its ids while it is pending and after it is posted."""

    transaction: Transaction
    created_on: date
    posted_id: str
    pending_id: str


def events(new: NewTransaction, rng: Random) -> Iterator[Event]:
    """Yield all events of a transaction, over at most ten days after its creation."""
    if new.transaction.code is not TransactionCode.PURCHASE:
        yield _added_event(new, new.transaction, new.created_on)
        return
    if rng.random() >= _PENDING_SHARE:
        yield from _card_events(new, new.transaction, new.created_on, None, rng)
        return
    days = timedelta(days=rng.choice(_DAYS_TO_POST))
    ends_on = new.created_on + days
    authorized = replace(new.transaction, pending=True, amount_minor=_authorized_amount(new.transaction, rng))
    yield Event(Change.ADDED, new.created_on, authorized, new.pending_id, new.created_on, superseded_on=ends_on)
    yield Event(Change.REMOVED, ends_on, authorized, new.pending_id, new.created_on)
    if rng.random() >= _CANCELLED_SHARE:
        posted = replace(new.transaction, posted_at=new.transaction.posted_at + days)
        yield from _card_events(new, posted, ends_on, new.pending_id, rng)


def _authorized_amount(transaction: Transaction, rng: Random) -> int:
    if transaction.category.detailed in TIPPED_CATEGORIES and rng.random() < _TIP_SHARE:
        return max(1, transaction.amount_minor * 100 // (100 + rng.choice(_TIP_PERCENT)))
    return transaction.amount_minor


def _added_event(
    new: NewTransaction,
    posted: Transaction,
    added_on: date,
    *,
    superseded_on: date | None = None,
    pending_id: str | None = None,
) -> Event:
    return Event(Change.ADDED, added_on, posted, new.posted_id, added_on, superseded_on, pending_id)


def _card_events(
    new: NewTransaction, posted: Transaction, added_on: date, pending_id: str | None, rng: Random
) -> Iterator[Event]:
    draw = rng.random()
    changed_on = added_on + timedelta(days=rng.randint(1, _MAX_DAYS_TO_CHANGE))
    if draw < _REMOVED_SHARE:
        yield _added_event(new, posted, added_on, superseded_on=changed_on, pending_id=pending_id)
        yield Event(Change.REMOVED, changed_on, posted, new.posted_id, added_on, None, pending_id)
    elif draw < _REMOVED_SHARE + _LATE_ENRICHMENT_SHARE and posted.merchant is not None:
        yield _added_event(new, _without_merchant(posted), added_on, superseded_on=changed_on, pending_id=pending_id)
        yield Event(Change.MODIFIED, changed_on, posted, new.posted_id, added_on, None, pending_id)
    else:
        yield _added_event(new, posted, added_on, pending_id=pending_id)


def _without_merchant(posted: Transaction) -> Transaction:
    return replace(
        posted,
        merchant=None,
        store_location=None,
        name=f"{posted.name[:_SHORT_NAME_LENGTH].rstrip()} *",
        category=categories.UNCATEGORISED,
    )
