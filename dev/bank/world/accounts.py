"""The accounts of an item, with their opening balances and credit limits."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from dev.bank.world import ids
from dev.bank.world.currencies import Currency
from dev.bank.world.institutions import Institution
from dev.bank.world.seed import Key


class AccountKind(Enum):
    """The kinds of account that the bank has; the value is Plaid's (type, subtype)."""

    CHECKING = ("depository", "checking")
    SAVINGS = ("depository", "savings")
    CREDIT_CARD = ("credit", "credit card")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it was when its ledger began.

    Parameters
    ----------
    ordinal
        Its position within the item, 0-based.
    opening_balance
        Minor units held, or owed on a credit card, before the first transaction; None if unknown.
    credit_limit
        Minor units that may be owed; None for accounts without credit.
    persistent_id
        Id that stays when the login is linked again; None where the institution has none.
    """

    ordinal: int
    account_id: str
    kind: AccountKind
    currency: Currency
    name: str
    official_name: str
    mask: str
    opening_balance: int | None
    credit_limit: int | None = None
    persistent_id: str | None = None


_ACCOUNT_MIXES = (
    (AccountKind.CHECKING,),
    (AccountKind.CHECKING, AccountKind.SAVINGS),
    (AccountKind.CHECKING, AccountKind.CREDIT_CARD),
    (AccountKind.CHECKING, AccountKind.SAVINGS, AccountKind.CREDIT_CARD),
)
_NAMES = {
    AccountKind.CHECKING: ("Everyday Checking", "Everyday Account", "Current Account"),
    AccountKind.SAVINGS: ("Rainy Day Savings", "Saver", "Instant Savings"),
    AccountKind.CREDIT_CARD: ("Cashback Card", "Travel Card", "Classic Card"),
}
_OPENING_BALANCE_CENTS = {
    AccountKind.CHECKING: (150_000, 900_000),
    AccountKind.SAVINGS: (200_000, 4_000_000),
    AccountKind.CREDIT_CARD: (20_000, 150_000),
}
_CREDIT_LIMITS_CENTS = (300_000, 500_000, 800_000, 1_200_000)


def open_accounts(
    key: Key, item: int, institution: Institution, rng: Random, *, origin: int | None = None
) -> tuple[Account, ...]:
    """Return the item's one to three accounts; the first is its checking account.

    Parameters
    ----------
    origin
        The item of the same accounts that was linked first; None if that is this one.
    """
    kinds = rng.choice(_ACCOUNT_MIXES)
    return tuple(
        _open(
            ordinal,
            kind,
            institution,
            account_id=ids.account_id(key, item, ordinal),
            persistent_id=ids.persistent_account_id(key, item if origin is None else origin, ordinal),
            rng=rng,
        )
        for ordinal, kind in enumerate(kinds)
    )


def _open(
    ordinal: int, kind: AccountKind, institution: Institution, *, account_id: str, persistent_id: str, rng: Random
) -> Account:
    is_savings = kind is AccountKind.SAVINGS
    has_persistent_id = institution.sends_persistent_ids and kind is not AccountKind.CREDIT_CARD
    currency = (institution.savings_currency if is_savings else None) or institution.currency
    name = rng.choice(_NAMES[kind])
    limit = currency.from_cents(rng.choice(_CREDIT_LIMITS_CENTS)) if kind is AccountKind.CREDIT_CARD else None
    return Account(
        ordinal=ordinal,
        account_id=account_id,
        kind=kind,
        currency=currency,
        name=name,
        official_name=f"{institution.name} {name}",
        mask=f"{rng.randrange(10_000):04d}",
        opening_balance=currency.from_cents(rng.randrange(*_OPENING_BALANCE_CENTS[kind])),
        credit_limit=limit,
        persistent_id=persistent_id if has_persistent_id else None,
    )
