"""An item's ledger as a list: its current transactions in a range of dates, newest first."""

from collections.abc import Collection
from datetime import date

from dev.bank.world import ledger as ledgers
from dev.bank.world.ledger import MAX_TRANSACTION_LIFETIME, Change, Event, Ledger


def current_events(ledger: Ledger, *, first: date, last: date, today: date, accounts: Collection[int]) -> list[Event]:
    """Return the last event of each transaction dated `first` to `last` that exists as of `today`, newest first.

    Parameters
    ----------
    accounts
        Ordinals of the accounts to list.
    """
    begin = max(first, ledger.first_day)
    events = [
        event
        for _, day_events in ledger.days(begin, min(today, ledgers.add_clamped(last, MAX_TRANSACTION_LIFETIME)))
        for event in day_events
        if event.change is not Change.REMOVED
        and (event.superseded_on is None or event.superseded_on > today)
        and event.transaction.account.ordinal in accounts
        and first <= event.transaction.posted_at.date() <= last
    ]
    return sorted(events, key=lambda event: (event.transaction.posted_at, event.transaction_id), reverse=True)
