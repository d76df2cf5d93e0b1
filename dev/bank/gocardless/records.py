"""The bank's accounts and transactions in the form of the Bank Account Data API, which follows the Berlin Group.

Amounts are text, and positive if money came in. As at real banks, it depends on the bank which ids a transaction has.

Source: GoCardless, "Account Transactions Output" and "Account Details Output"; responses of real banks in the tests of
`actualbudget/actual`, `packages/sync-server/src/app-gocardless/banks/tests`.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from dev.bank.api import render
from dev.bank.bank import Bank
from dev.bank.feed import feed
from dev.bank.feed.feed import Outflows
from dev.bank.hostile import flaws
from dev.bank.world.accounts import Account, AccountKind
from dev.bank.world.institutions import Institution
from dev.bank.world.items import Item
from dev.bank.world.ledger import Event
from dev.bank.world.seed import HashDomain, Key, pack
from dev.bank.world.transactions import Transaction

Record = dict[str, Any]

_CASH_ACCOUNT_TYPES = {AccountKind.CHECKING: "CACC", AccountKind.SAVINGS: "SVGS", AccountKind.CREDIT_CARD: "CARD"}
"""ISO 20022, ExternalCashAccountType1Code."""


class Ids(Enum):
    """Which ids a bank sends with a transaction."""

    BOTH = "both"
    """`transactionId` once it is booked, and `internalTransactionId`, another one after the booking."""
    SAME = "same"
    """One `transactionId`, pending and booked."""
    INTERNAL = "internal"
    """`internalTransactionId` only."""
    NONE = "none"


_IDS = {
    "ins_900101": Ids.BOTH,
    "ins_900102": Ids.SAME,
    "ins_900103": Ids.INTERNAL,
    "ins_900201": Ids.NONE,
    "ins_900202": Ids.INTERNAL,
}


def ids_of(institution: Institution) -> Ids:
    """Return which ids an institution sends."""
    return _IDS.get(institution.institution_id, Ids.BOTH)


def institution_id(institution: Institution) -> str:
    """Return the id of an institution, such as `LINDENHOF_SPARBANK_INS900202`."""
    return re.sub(r"[^A-Z0-9]+", "_", f"{institution.name} {institution.institution_id.replace('_', '')}".upper())


def account_id(key: Key, item: Item, account: Account) -> str:
    """Return the id of an account, a UUID."""
    return _uuid(key, b"account" + pack(item.number, account.ordinal))


def transaction_ids(key: Key, item: Item, event: Event) -> tuple[str | None, str | None]:
    """Return `transactionId` and `internalTransactionId` of a transaction; None for one that its bank does not send."""
    internal = key.mac(HashDomain.TRANSACTION_ID, b"internal" + event.transaction_id.encode(), size=16).hex()
    match ids_of(item.institution):
        case Ids.BOTH:
            return (None if event.transaction.pending else event.transaction_id), internal
        case Ids.SAME:
            return event.pending_id or event.transaction_id, None
        case Ids.INTERNAL:
            return None, internal
        case Ids.NONE:
            return None, None


def owner_name(item: Item) -> str:
    """Return the name of the owner of an item's accounts."""
    return f"Customer {item.number}"


def iban(key: Key, item: Item, account: Account) -> str | None:
    """Return the IBAN of an account; None for a card.

    Source: ISO 13616, check digits by ISO 7064, MOD 97-10.
    """
    if account.kind is AccountKind.CREDIT_CARD:
        return None
    digits = int.from_bytes(key.mac(HashDomain.ACCOUNT_ID, b"iban" + pack(item.number, account.ordinal), size=8))
    number, country = f"SAND{digits % 10**14:014d}", item.institution.country
    as_digits = "".join(str(int(letter, 36)) for letter in f"{number}{country}00")
    return f"{country}{98 - int(as_digits) % 97:02d}{number}"


def account_details(key: Key, item: Item, account: Account) -> Record:
    """Return an account without its balances."""
    found_iban = iban(key, item, account)
    return {
        "resourceId": account.account_id,
        **({"iban": found_iban} if found_iban else {"maskedPan": f"************{account.mask}"}),
        "currency": account.currency.code,
        "ownerName": owner_name(item),
        "name": account.name,
        "product": account.official_name,
        "cashAccountType": _CASH_ACCOUNT_TYPES[account.kind],
        "status": "enabled",
    }


def balances(account: Account, outflows: Outflows, *, on: str) -> list[Record]:
    """Return the balances of an account; what is owed on a card is negative. None are known of real purchases."""
    balance = feed.compute_balance(account, outflows)
    if balance.current is None or balance.available is None:
        return []
    booked = balance.current if account.credit_limit is None else -balance.current
    return [
        {
            "balanceAmount": {"amount": str(account.currency.to_decimal(minor)), "currency": account.currency.code},
            "balanceType": kind,
            "referenceDate": on,
        }
        for kind, minor in (("interimBooked", booked), ("interimAvailable", balance.available))
    ]


def transactions(bank: Bank, item: Item, events: Sequence[Event]) -> dict[str, list[Record]]:
    """Return transactions as they are after their events, in the lists of those that are booked and pending."""
    lists: dict[str, list[Record]] = {"booked": [], "pending": []}
    for event in events:
        lists["pending" if event.transaction.pending else "booked"].append(_transaction(bank, item, event))
    return lists


def parties(transaction: Transaction, merchant: object) -> tuple[object, object]:
    """Return the creditor and the debtor of a transaction, apart from the owner of the account."""
    if transaction.amount_minor > 0:
        return merchant, None
    return None, transaction.payer or merchant


def _transaction(bank: Bank, item: Item, event: Event) -> Record:
    """Return a transaction, spoiled as faults say: the flaws are those of the record of the other API."""
    found_flaws = bank.flaws_of(item, event)
    sent: Record = msgspec.to_builtins(render.transaction(item, event), builtin_types=(Decimal,))
    flaws.spoil(sent, found_flaws)
    amount = sent["amount"]
    creditor, debtor = parties(event.transaction, sent["merchant_name"])
    transaction_id, internal_id = transaction_ids(bank.key, item, event)
    is_pending = event.transaction.pending
    fields = {
        "transactionId": transaction_id,
        "internalTransactionId": internal_id,
        "bookingDate": None if is_pending else sent["date"],
        "bookingDateTime": None if is_pending else sent["datetime"],
        "valueDate": sent["date"] if is_pending else sent["authorized_date"],
        "transactionAmount": {
            "amount": str(-amount) if isinstance(amount, Decimal) else amount,
            "currency": sent["iso_currency_code"],
        },
        "creditorName": creditor,
        "debtorName": debtor,
        "remittanceInformationUnstructured": sent["name"],
        "proprietaryBankTransactionCode": sent["transaction_code"],
    }
    if sent.get("account_id") is None:
        del fields["transactionAmount"]
    return {name: value for name, value in fields.items() if value is not None}


def _uuid(key: Key, message: bytes) -> str:
    return str(UUID(bytes=key.mac(HashDomain.ACCOUNT_ID, message, size=16), version=4))
