"""Invented customers, each derived whole from the item number."""

from dataclasses import dataclass
from datetime import timedelta

from dev.bank.world import accounts, ids, institutions, recurring
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.institutions import Institution
from dev.bank.world.items import Item
from dev.bank.world.merchants import Market, Merchant
from dev.bank.world.recurring import RecurringPayment
from dev.bank.world.seed import HashDomain, Key

FAVOURITE_SHOP_COUNT = 24
"""Shops that a customer goes back to."""

MAX_HEAD_START_DAYS = 30
"""A customer's ledger begins fewer days than this before the day the bank opened."""


@dataclass(frozen=True, slots=True)
class Customer(Item):
    """An item and the habits of whoever owns it.

    Parameters
    ----------
    head_start
        How long before the bank opened the ledger begins.
    payment_accounts
        Accounts paid from in shops, each as often as it stands here.
    cities
        Cities shopped in, likewise: home and, now and then, another.
    """

    head_start: timedelta
    recurring_payments: tuple[RecurringPayment, ...]
    payment_accounts: tuple[Account, ...]
    cities: tuple[str, ...]
    favourite_shops: tuple[Merchant, ...]


def derive(key: Key, market: Market, number: int) -> Customer:
    """Return customer `number`, 0 to 2**64 - 1; always the same one."""
    rng = key.rng(HashDomain.ITEM, number)
    institution = institutions.pick(rng)
    held = accounts.open_accounts(key, number, institution, rng)
    cards = tuple(account for account in held if account.kind is AccountKind.CREDIT_CARD)
    return Customer(
        number=number,
        item_id=ids.item_id(key, number),
        institution=institution,
        accounts=held,
        head_start=timedelta(days=rng.randrange(MAX_HEAD_START_DAYS)),
        recurring_payments=recurring.create_payments(held, market, rng),
        payment_accounts=(held[0], held[0], *cards * 3),
        cities=(rng.choice(institution.cities),) * 11 + (rng.choice(institution.cities),),
        favourite_shops=market.shops.pick_many(rng, FAVOURITE_SHOP_COUNT),
    )


def institution_of(key: Key, number: int) -> Institution:
    """Return where customer `number` banks, without deriving the rest of them."""
    return institutions.pick(key.rng(HashDomain.ITEM, number))
