"""What the bank makes of a day, out of the seed alone."""

from datetime import UTC, date, datetime, timedelta

from dev.bank import daily, monthly
from dev.bank.items import Item
from dev.bank.keys import Domain, Key
from dev.bank.ledger import Change, Event
from dev.bank.merchants import Market

_BATCH_RUN = timedelta(hours=4)


def events_on(key: Key, market: Market, item: Item, day: date) -> list[Event]:
    """Return the item's events of `day`, which depend on no other day."""
    rng = key.rng(Domain.DAY, item.number, day.toordinal())
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    transactions = list(monthly.due(item.standings, midnight + _BATCH_RUN, rng))
    transactions += daily.spend(item, market, midnight, first=len(transactions), rng=rng)
    return [Event(Change.ADDED, transaction) for transaction in transactions]
