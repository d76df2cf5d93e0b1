"""Generated customers, each derived from its item number alone."""

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
"""Shops that a customer visits again and again."""

MAX_HEAD_START_DAYS = 30
"""Exclusive limit of `Customer.head_start`, in days."""


@dataclass(frozen=True, slots=True)
class Customer(Item):
    """An item and the habits of its owner.

    Parameters
    ----------
    origin
        The item of the same accounts that was linked first, from which the habits are derived.
    head_start
        How long the ledger begins before the bank opened.
    payment_accounts
        Accounts that pay in shops; one that occurs more often here is drawn more often.
    cities
        Cities of the shops, weighted in the same way: home and, rarely, another.
    """

    origin: int
    head_start: timedelta
    recurring_payments: tuple[RecurringPayment, ...]
    payment_accounts: tuple[Account, ...]
    cities: tuple[str, ...]
    favourite_shops: tuple[Merchant, ...]


def derive(
    key: Key, market: Market, number: int, *, origin: int | None = None, institution: Institution | None = None
) -> Customer:
    """Return customer `number`, 0 to 2**64 - 1; always the same one.

    Parameters
    ----------
    origin
        The item that was linked first, if `number` is one that was linked again: it differs in its ids only.
    institution
        Where the accounts are; None for one that is drawn.
    """
    first_number = number if origin is None else origin
    rng = key.rng(HashDomain.ITEM, first_number)
    drawn_institution = institutions.pick(rng)
    institution = institution or drawn_institution
    item_accounts = accounts.open_accounts(key, number, institution, rng, origin=origin)
    cards = tuple(account for account in item_accounts if account.kind is AccountKind.CREDIT_CARD)
    return Customer(
        number=number,
        item_id=ids.item_id(key, number),
        institution=institution,
        accounts=item_accounts,
        origin=first_number,
        head_start=timedelta(days=rng.randrange(MAX_HEAD_START_DAYS)),
        recurring_payments=recurring.create_payments(item_accounts, market, rng),
        payment_accounts=(item_accounts[0], item_accounts[0], *cards * 3),
        cities=(rng.choice(institution.cities),) * 11 + (rng.choice(institution.cities),),
        favourite_shops=market.shops.pick_many(rng, FAVOURITE_SHOP_COUNT),
    )


def institution_of(key: Key, number: int) -> Institution:
    """Return the institution of customer `number` without deriving the rest."""
    return institutions.pick(key.rng(HashDomain.ITEM, number))
