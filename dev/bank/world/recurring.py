"""What comes back every month: salary, rent, bills, subscriptions, savings, the card's repayment."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from dev.bank.world import categories, merchants
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.categories import Category, Channel
from dev.bank.world.merchants import Market, Merchant
from dev.bank.world.transactions import Code, Transaction

LAST_DAY = 28
"""Latest day of the month for a standing order, so that every month has it."""

_FEE_SHARE = 0.3
_RENT_DAYS = 5


@dataclass(frozen=True, slots=True)
class Standing:
    """A payment made once a month.

    Parameters
    ----------
    day
        Of the month, 1 to `LAST_DAY`.
    minor
        Minor units of the account's currency; positive when money leaves the account.
    spread
        Minor units by which the amount may differ from month to month, less than `minor`.
    """

    day: int
    account: Account
    minor: int
    name: str
    category: Category
    code: Code
    spread: int = 0
    merchant: Merchant | None = None
    payer: str | None = None


def plan(accounts: Sequence[Account], market: Market, rng: Random) -> tuple[Standing, ...]:
    """Return the standing orders of an item with these accounts, the first of them checking."""
    checking = accounts[0]
    salary = rng.randrange(240_000, 620_000)
    standings = [*_household(checking, salary, rng), *_bills(checking, market, rng)]
    for account in accounts[1:]:
        if account.kind is AccountKind.SAVINGS:
            standings += _savings(checking, account, salary, rng)
        else:
            standings += _repayment(checking, account, rng)
    return tuple(standings)


def due(standings: Iterable[Standing], at: datetime, rng: Random) -> Iterator[Transaction]:
    """Yield the transactions that the standing orders make on the day of `at`."""
    for standing in standings:
        if standing.day != at.day:
            continue
        yield Transaction(
            account=standing.account,
            posted_at=at,
            authorized_at=at,
            minor=standing.minor + rng.randint(-standing.spread, standing.spread),
            name=standing.name,
            category=standing.category,
            channel=Channel.ONLINE if standing.merchant else Channel.OTHER,
            code=standing.code,
            merchant=standing.merchant,
            payer=standing.payer,
        )


def _household(checking: Account, salary: int, rng: Random) -> Iterator[Standing]:
    cents = checking.currency.from_cents
    payer = merchants.employer(rng)
    yield Standing(
        rng.randint(1, LAST_DAY),
        checking,
        -cents(salary),
        f"{payer.upper()} PAYROLL",
        categories.SALARY,
        Code.PAYMENT,
        payer=payer,
    )
    rent = cents(salary * rng.randint(22, 34) // 100)
    yield Standing(
        rng.randint(1, _RENT_DAYS), checking, rent, "STANDING ORDER RENT", categories.RENT, Code.STANDING_ORDER
    )
    if rng.random() < _FEE_SHARE:
        fee = cents(rng.choice((300, 500, 1_200)))
        yield Standing(LAST_DAY, checking, fee, "MONTHLY ACCOUNT FEE", categories.ACCOUNT_FEE, Code.BANK_CHARGE)


def _bills(checking: Account, market: Market, rng: Random) -> Iterator[Standing]:
    for merchant in market.utilities.pick_many(rng, rng.randint(2, 3)):
        yield _bill(checking, merchant, rng, spread_share=6)
    for merchant in market.subscriptions.pick_many(rng, rng.randint(2, 5)):
        yield _bill(checking, merchant, rng)


def _bill(checking: Account, merchant: Merchant, rng: Random, *, spread_share: int = 0) -> Standing:
    minor = checking.currency.from_cents(rng.randint(merchant.trade.low, merchant.trade.high))
    return Standing(
        rng.randint(1, LAST_DAY),
        checking,
        minor,
        f"DD {merchant.descriptor} {rng.randrange(10**8):08d}",
        merchant.trade.category,
        Code.DIRECT_DEBIT,
        spread=minor // spread_share if spread_share else 0,
        merchant=merchant,
    )


def _savings(checking: Account, savings: Account, salary: int, rng: Random) -> Iterator[Standing]:
    interest = savings.currency.from_cents(rng.randrange(50, 4_000))
    yield Standing(LAST_DAY, savings, -interest, "INTEREST PAID", categories.INTEREST, Code.INTEREST)
    if savings.currency == checking.currency:
        saved = checking.currency.from_cents(salary * rng.randint(4, 12) // 100)
        day = rng.randint(1, LAST_DAY)
        yield Standing(day, checking, saved, f"TRANSFER TO {savings.mask}", categories.TO_SAVINGS, Code.TRANSFER)
        yield Standing(day, savings, -saved, f"TRANSFER FROM {checking.mask}", categories.FROM_ACCOUNT, Code.TRANSFER)


def _repayment(checking: Account, card: Account, rng: Random) -> Iterator[Standing]:
    day = rng.randint(1, LAST_DAY)
    repaid = card.currency.from_cents(rng.randrange(60_000, 110_000))
    yield Standing(day, checking, repaid, f"CARD PAYMENT {card.mask}", categories.CARD_PAYMENT, Code.PAYMENT)
    yield Standing(day, card, -repaid, "PAYMENT RECEIVED THANK YOU", categories.CARD_PAYMENT, Code.PAYMENT)
