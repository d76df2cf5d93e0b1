"""What happens on no fixed day: shopping, refunds, cash, transfers between friends."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from dev.bank.world import categories
from dev.bank.world.categories import Channel
from dev.bank.world.customers import Customer
from dev.bank.world.merchants import Market
from dev.bank.world.transactions import Code, Place, Transaction

_NUMBERS = (0, 1, 2, 3, 4, 5)
_WEEKDAY_SHARES = (22, 53, 78, 92, 98, 100)
_WEEKEND_SHARES = (13, 39, 67, 87, 96, 100)
_SATURDAY = 5
_LOYALTY = 0.7
_WAKING = range(6 * 3_600, 23 * 3_600)
_FRIENDS = ("A NOVAK", "M OKAFOR", "J LINDQVIST", "S HARADA", "T MBEKI", "R CASTELLANO", "L FOURNIER", "P DESAI")
_ABROAD = ("INTL WEB PMT", "EPAY", "MERCH SVC", "ONLINE PMT")
_PREFIXES = ("CARD PURCHASE ", "POS ", "CHIP ", "CONTACTLESS ", "")


class _Occasion(Struct, frozen=True):
    """A customer's turn to do something."""

    customer: Customer
    market: Market
    at: datetime
    rng: Random


def spend(customer: Customer, market: Market, midnight: datetime, rng: Random) -> Iterator[Transaction]:
    """Yield the irregular transactions of the day that began at `midnight`."""
    shares = _WEEKEND_SHARES if midnight.weekday() >= _SATURDAY else _WEEKDAY_SHARES
    number = rng.choices(_NUMBERS, cum_weights=shares)[0]
    for _ in range(number):
        at = midnight + timedelta(seconds=rng.choice(_WAKING))
        act = rng.choices(_ACTS, cum_weights=_ACT_SHARES)[0]
        yield act(_Occasion(customer, market, at, rng))


def _purchase(occasion: _Occasion) -> Transaction:
    customer, rng = occasion.customer, occasion.rng
    merchant = rng.choice(customer.regulars) if rng.random() < _LOYALTY else occasion.market.shops.pick(rng)
    trade = merchant.trade
    account = rng.choice(customer.purse)
    # The lesser of two draws: small purchases are common and dear ones rare.
    cents = min(rng.randint(trade.low, trade.high), rng.randint(trade.low, trade.high))
    store = rng.randrange(1, 10_000)
    place = None
    line = f"WEB {merchant.descriptor} {store:04d}"
    if trade.channel is Channel.IN_STORE:
        place = Place(rng.choice(customer.haunts), customer.institution.country, str(store))
        line = f"{rng.choice(_PREFIXES)}{merchant.descriptor} {store:04d} {place.city.upper()}"
    return Transaction(
        account=account,
        posted_at=occasion.at,
        authorized_at=occasion.at - timedelta(days=rng.randrange(3), seconds=rng.randrange(3_600)),
        minor=account.currency.from_cents(cents),
        name=line,
        category=trade.category,
        channel=trade.channel,
        code=Code.PURCHASE,
        merchant=merchant,
        place=place,
    )


def _refund(occasion: _Occasion) -> Transaction:
    bought = _purchase(occasion)
    return replace(
        bought, minor=-bought.minor, name=f"REFUND {bought.name.removeprefix('CARD PURCHASE ')}", code=Code.REFUND
    )


def _cash(occasion: _Occasion) -> Transaction:
    customer, rng = occasion.customer, occasion.rng
    checking = customer.accounts[0]
    place = Place(rng.choice(customer.haunts), customer.institution.country, str(rng.randrange(1, 1_000)))
    return Transaction(
        account=checking,
        posted_at=occasion.at,
        authorized_at=occasion.at,
        minor=checking.currency.from_cents(2_000 * rng.randint(1, 8)),
        name=f"ATM WITHDRAWAL {place.store_number} {place.city.upper()}",
        category=categories.CASH,
        channel=Channel.IN_STORE,
        code=Code.ATM,
        place=place,
    )


def _transfer(occasion: _Occasion) -> Transaction:
    rng = occasion.rng
    checking = occasion.customer.accounts[0]
    sign, word, category = rng.choice(((1, "TO", categories.TO_ACCOUNT), (-1, "FROM", categories.FROM_ACCOUNT)))
    return Transaction(
        account=checking,
        posted_at=occasion.at,
        authorized_at=occasion.at,
        minor=sign * checking.currency.from_cents(rng.randrange(500, 15_000)),
        name=f"TRANSFER {word} {rng.choice(_FRIENDS)}",
        category=category,
        channel=Channel.OTHER,
        code=Code.TRANSFER,
    )


def _unnamed(occasion: _Occasion) -> Transaction:
    rng = occasion.rng
    account = rng.choice(occasion.customer.purse)
    return Transaction(
        account=account,
        posted_at=occasion.at,
        authorized_at=occasion.at - timedelta(days=1),
        minor=account.currency.from_cents(rng.randrange(300, 20_000)),
        name=f"{rng.choice(_ABROAD)} {rng.randrange(10**6):06d}",
        category=categories.UNNAMED,
        channel=Channel.ONLINE,
        code=Code.PURCHASE,
    )


_ACTS = (_purchase, _refund, _cash, _transfer, _unnamed)
_ACT_SHARES = (86, 90, 94, 98, 100)
