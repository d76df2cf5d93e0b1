"""Transactions on no fixed day: shopping, refunds, cash withdrawals, transfers between friends."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from dev.bank.world import categories
from dev.bank.world.categories import PaymentChannel
from dev.bank.world.customers import Customer
from dev.bank.world.merchants import Market
from dev.bank.world.transactions import StoreLocation, Transaction, TransactionCode

_COUNTS = (0, 1, 2, 3, 4, 5)
_WEEKDAY_CUMULATIVE_WEIGHTS = (22, 53, 78, 92, 98, 100)
_WEEKEND_CUMULATIVE_WEIGHTS = (13, 39, 67, 87, 96, 100)
_SATURDAY = 5
_FAVOURITE_SHOP_SHARE = 0.7
_WAKING_SECONDS = range(6 * 3_600, 23 * 3_600)
_FRIENDS = ("A NOVAK", "M OKAFOR", "J LINDQVIST", "S HARADA", "T MBEKI", "R CASTELLANO", "L FOURNIER", "P DESAI")
_UNRECOGNISED_PREFIXES = ("INTL WEB PMT", "EPAY", "MERCH SVC", "ONLINE PMT")
_CARD_PREFIXES = ("CARD PURCHASE ", "POS ", "CHIP ", "CONTACTLESS ", "")


class _ActivityContext(Struct, frozen=True):
    """What a customer's activity is generated from."""

    customer: Customer
    market: Market
    at: datetime
    rng: Random


def generate_transactions(customer: Customer, market: Market, midnight: datetime, rng: Random) -> Iterator[Transaction]:
    """Yield the irregular transactions of the day that began at `midnight`."""
    shares = _WEEKEND_CUMULATIVE_WEIGHTS if midnight.weekday() >= _SATURDAY else _WEEKDAY_CUMULATIVE_WEIGHTS
    number = rng.choices(_COUNTS, cum_weights=shares)[0]
    for _ in range(number):
        at = midnight + timedelta(seconds=rng.choice(_WAKING_SECONDS))
        activity = rng.choices(_ACTIVITIES, cum_weights=_ACTIVITY_CUMULATIVE_WEIGHTS)[0]
        yield activity(_ActivityContext(customer, market, at, rng))


def _purchase(context: _ActivityContext) -> Transaction:
    customer, rng = context.customer, context.rng
    merchant = (
        rng.choice(customer.favourite_shops) if rng.random() < _FAVOURITE_SHOP_SHARE else context.market.shops.pick(rng)
    )
    trade = merchant.trade
    account = rng.choice(customer.payment_accounts)
    # The lesser of two draws, so that small purchases are common and expensive ones rare.
    cents = min(rng.randint(trade.min_cents, trade.max_cents), rng.randint(trade.min_cents, trade.max_cents))
    store_number = rng.randrange(1, 10_000)
    location = None
    name = f"WEB {merchant.descriptor} {store_number:04d}"
    if trade.channel is PaymentChannel.IN_STORE:
        location = StoreLocation(rng.choice(customer.cities), customer.institution.country, str(store_number))
        name = f"{rng.choice(_CARD_PREFIXES)}{merchant.descriptor} {store_number:04d} {location.city.upper()}"
    return Transaction(
        account=account,
        posted_at=context.at,
        authorized_at=context.at - timedelta(days=rng.randrange(3), seconds=rng.randrange(3_600)),
        amount_minor=account.currency.from_cents(cents),
        name=name,
        category=trade.category,
        channel=trade.channel,
        code=TransactionCode.PURCHASE,
        merchant=merchant,
        store_location=location,
    )


def _refund(context: _ActivityContext) -> Transaction:
    purchase = _purchase(context)
    return replace(
        purchase,
        amount_minor=-purchase.amount_minor,
        name=f"REFUND {purchase.name.removeprefix('CARD PURCHASE ')}",
        code=TransactionCode.REFUND,
    )


def _cash_withdrawal(context: _ActivityContext) -> Transaction:
    customer, rng = context.customer, context.rng
    checking = customer.accounts[0]
    location = StoreLocation(rng.choice(customer.cities), customer.institution.country, str(rng.randrange(1, 1_000)))
    return Transaction(
        account=checking,
        posted_at=context.at,
        authorized_at=context.at,
        amount_minor=checking.currency.from_cents(2_000 * rng.randint(1, 8)),
        name=f"ATM WITHDRAWAL {location.store_number} {location.city.upper()}",
        category=categories.CASH_WITHDRAWAL,
        channel=PaymentChannel.IN_STORE,
        code=TransactionCode.ATM,
        store_location=location,
    )


def _transfer(context: _ActivityContext) -> Transaction:
    rng = context.rng
    checking = context.customer.accounts[0]
    sign, preposition, category = rng.choice(((1, "TO", categories.TRANSFER_OUT), (-1, "FROM", categories.TRANSFER_IN)))
    return Transaction(
        account=checking,
        posted_at=context.at,
        authorized_at=context.at,
        amount_minor=sign * checking.currency.from_cents(rng.randrange(500, 15_000)),
        name=f"TRANSFER {preposition} {rng.choice(_FRIENDS)}",
        category=category,
        channel=PaymentChannel.OTHER,
        code=TransactionCode.TRANSFER,
    )


def _unrecognised_purchase(context: _ActivityContext) -> Transaction:
    rng = context.rng
    account = rng.choice(context.customer.payment_accounts)
    return Transaction(
        account=account,
        posted_at=context.at,
        authorized_at=context.at - timedelta(days=1),
        amount_minor=account.currency.from_cents(rng.randrange(300, 20_000)),
        name=f"{rng.choice(_UNRECOGNISED_PREFIXES)} {rng.randrange(10**6):06d}",
        category=categories.UNCATEGORISED,
        channel=PaymentChannel.ONLINE,
        code=TransactionCode.PURCHASE,
    )


_ACTIVITIES = (_purchase, _refund, _cash_withdrawal, _transfer, _unrecognised_purchase)
_ACTIVITY_CUMULATIVE_WEIGHTS = (86, 90, 94, 98, 100)
