"""Monthly transactions: salary, rent, bills, subscriptions, savings and repayments of credit cards."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random

from dev.bank.world import categories, merchants
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.categories import Category, PaymentChannel
from dev.bank.world.merchants import Market, Merchant
from dev.bank.world.transactions import Transaction, TransactionCode

MAX_DAY_OF_MONTH = 28
"""Latest day of the month of a recurring payment, so that every month has it."""

_FEE_SHARE = 0.3
_MAX_RENT_DAY = 5


@dataclass(frozen=True, slots=True)
class RecurringPayment:
    """A payment made once a month.

    Parameters
    ----------
    day_of_month
        1 to `MAX_DAY_OF_MONTH`.
    amount_minor
        Minor units of the account's currency; positive when money leaves the account.
    spread
        Minor units by which the amount may differ from month to month, less than `amount_minor`.
    """

    day_of_month: int
    account: Account
    amount_minor: int
    name: str
    category: Category
    code: TransactionCode
    spread: int = 0
    merchant: Merchant | None = None
    payer: str | None = None


def create_payments(accounts: Sequence[Account], market: Market, rng: Random) -> tuple[RecurringPayment, ...]:
    """Return the recurring payments of an item with these accounts; the first is its checking account."""
    checking = accounts[0]
    salary = rng.randrange(240_000, 620_000)
    payments = [*_salary_and_rent(checking, salary, rng), *_bills(checking, market, rng)]
    for account in accounts[1:]:
        if account.kind is AccountKind.SAVINGS:
            payments += _savings(checking, account, salary, rng)
        else:
            payments += _repayment(checking, account, rng)
    return tuple(payments)


def due_transactions(payments: Iterable[RecurringPayment], at: datetime, rng: Random) -> Iterator[Transaction]:
    """Yield the transactions of the payments that are due on the day of `at`."""
    for payment in payments:
        if payment.day_of_month != at.day:
            continue
        yield Transaction(
            account=payment.account,
            posted_at=at,
            authorized_at=at,
            amount_minor=payment.amount_minor + rng.randint(-payment.spread, payment.spread),
            name=payment.name,
            category=payment.category,
            channel=PaymentChannel.ONLINE if payment.merchant else PaymentChannel.OTHER,
            code=payment.code,
            merchant=payment.merchant,
            payer=payment.payer,
        )


def _salary_and_rent(checking: Account, salary: int, rng: Random) -> Iterator[RecurringPayment]:
    from_cents = checking.currency.from_cents
    payer = merchants.pick_employer(rng)
    yield RecurringPayment(
        rng.randint(1, MAX_DAY_OF_MONTH),
        checking,
        -from_cents(salary),
        f"{payer.upper()} PAYROLL",
        categories.SALARY,
        TransactionCode.PAYMENT,
        payer=payer,
    )
    rent = from_cents(salary * rng.randint(22, 34) // 100)
    yield RecurringPayment(
        rng.randint(1, _MAX_RENT_DAY),
        checking,
        rent,
        "STANDING ORDER RENT",
        categories.RENT,
        TransactionCode.STANDING_ORDER,
    )
    if rng.random() < _FEE_SHARE:
        fee = from_cents(rng.choice((300, 500, 1_200)))
        yield RecurringPayment(
            MAX_DAY_OF_MONTH, checking, fee, "MONTHLY ACCOUNT FEE", categories.ACCOUNT_FEE, TransactionCode.BANK_CHARGE
        )


def _bills(checking: Account, market: Market, rng: Random) -> Iterator[RecurringPayment]:
    for merchant in market.utilities.pick_many(rng, rng.randint(2, 3)):
        yield _bill(checking, merchant, rng, spread_share=6)
    for merchant in market.subscriptions.pick_many(rng, rng.randint(2, 5)):
        yield _bill(checking, merchant, rng)


def _bill(checking: Account, merchant: Merchant, rng: Random, *, spread_share: int = 0) -> RecurringPayment:
    amount = checking.currency.from_cents(rng.randint(merchant.trade.min_cents, merchant.trade.max_cents))
    return RecurringPayment(
        rng.randint(1, MAX_DAY_OF_MONTH),
        checking,
        amount,
        f"DD {merchant.descriptor} {rng.randrange(10**8):08d}",
        merchant.trade.category,
        TransactionCode.DIRECT_DEBIT,
        spread=amount // spread_share if spread_share else 0,
        merchant=merchant,
    )


def _savings(checking: Account, savings: Account, salary: int, rng: Random) -> Iterator[RecurringPayment]:
    interest = savings.currency.from_cents(rng.randrange(50, 4_000))
    yield RecurringPayment(
        MAX_DAY_OF_MONTH, savings, -interest, "INTEREST PAID", categories.INTEREST, TransactionCode.INTEREST
    )
    if savings.currency == checking.currency:
        amount = checking.currency.from_cents(salary * rng.randint(4, 12) // 100)
        day = rng.randint(1, MAX_DAY_OF_MONTH)
        yield RecurringPayment(
            day, checking, amount, f"TRANSFER TO {savings.mask}", categories.SAVINGS_TRANSFER, TransactionCode.TRANSFER
        )
        yield RecurringPayment(
            day, savings, -amount, f"TRANSFER FROM {checking.mask}", categories.TRANSFER_IN, TransactionCode.TRANSFER
        )


def _repayment(checking: Account, card: Account, rng: Random) -> Iterator[RecurringPayment]:
    day = rng.randint(1, MAX_DAY_OF_MONTH)
    amount = card.currency.from_cents(rng.randrange(60_000, 110_000))
    yield RecurringPayment(
        day, checking, amount, f"CARD PAYMENT {card.mask}", categories.CARD_PAYMENT, TransactionCode.PAYMENT
    )
    yield RecurringPayment(
        day, card, -amount, "PAYMENT RECEIVED THANK YOU", categories.CARD_PAYMENT, TransactionCode.PAYMENT
    )
