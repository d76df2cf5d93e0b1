"""Generated pages in Plaid's format: the same arguments give the same records, with ids as random as real ones.

Records have every field that Plaid documents, and about 1.6 kB, unless they are to be lean.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import date, timedelta

import msgspec

PAGE_SIZE = 500

_FIRST_DAY = date(2024, 1, 1)
_CENTS = 100
_DAYS = 700
_ACCOUNTS = 2
_CATEGORIES = (
    ("FOOD_AND_DRINK", "FOOD_AND_DRINK_RESTAURANT"),
    ("GENERAL_MERCHANDISE", "GENERAL_MERCHANDISE_SUPERSTORES"),
    ("TRANSPORTATION", "TRANSPORTATION_PUBLIC_TRANSIT"),
)
_LOCATION = ("address", "city", "region", "postal_code", "country", "lat", "lon", "store_number")
_PAYMENT_META = (
    *("by_order_of", "payee", "payer", "payment_method", "payment_processor", "ppd_id", "reason", "reference_number"),
)


def feed(login: int, *, records: int, merchants: int, is_lean: bool = False) -> Iterator[bytes]:
    """Yield the pages of `/transactions/sync` with a login's transactions, all of them added.

    Parameters
    ----------
    is_lean
        Whether records lack the fields that nothing reads: they have half the size then.
    """
    for page, added in _paged(login, records, merchants, is_lean=is_lean):
        has_more = (page + 1) * PAGE_SIZE < records
        yield msgspec.json.encode(
            {"added": added, "modified": [], "removed": [], "next_cursor": _id("cursor", page), "has_more": has_more}
        )


def window(login: int, *, records: int, merchants: int) -> Iterator[bytes]:
    """Yield the pages of `/transactions/get` with the same transactions."""
    for _, page_transactions in _paged(login, records, merchants):
        yield msgspec.json.encode({"accounts": [], "transactions": page_transactions, "total_transactions": records})


def snapshot(login: int, *, records: int) -> Iterator[bytes]:
    """Yield the page of `/accounts/get` for a login with `records` accounts."""
    yield msgspec.json.encode({"accounts": [_account(login, ordinal) for ordinal in range(records)]})


def transactions(login: int, *, records: int, merchants: int) -> list[dict[str, object]]:
    """Return a login's transactions."""
    return [record for _, page_records in _paged(login, records, merchants) for record in page_records]


def _paged(
    login: int, records: int, merchants: int, *, is_lean: bool = False
) -> Iterator[tuple[int, list[dict[str, object]]]]:
    """Yield each page's number, from 0, and its transactions."""
    for page, first in enumerate(range(0, records, PAGE_SIZE)):
        ordinals = range(first, min(first + PAGE_SIZE, records))
        added = [_transaction(login, ordinal, merchants) for ordinal in ordinals]
        yield page, added if is_lean else [{**record, **_unread(record)} for record in added]


def _transaction(login: int, ordinal: int, merchants: int) -> dict[str, object]:
    token = _id("transaction", login, ordinal)
    random_number = int.from_bytes(token.encode()[:6])
    primary, detailed = _CATEGORIES[random_number % len(_CATEGORIES)]
    merchant = random_number % merchants
    posted = _FIRST_DAY + timedelta(days=random_number % _DAYS)
    name, entity = f"Merchant {merchant} Trading", _id("merchant", merchant)
    return {
        "account_id": _id("account", login, ordinal % _ACCOUNTS),
        "transaction_id": token,
        "amount": random_number % 20_000 / _CENTS,
        "iso_currency_code": "USD",
        "unofficial_currency_code": None,
        "date": posted.isoformat(),
        "datetime": None,
        "authorized_date": posted.isoformat(),
        "authorized_datetime": None,
        "pending": False,
        "pending_transaction_id": None,
        "name": f"PURCHASE {name.upper()} {random_number % 9_999:04}",
        "merchant_name": name,
        "merchant_entity_id": entity,
        "payment_channel": "in store",
        # A merchant gets the category of its last transaction.
        "personal_finance_category": {"primary": primary, "detailed": detailed, "confidence_level": "HIGH"},
        "counterparties": [
            {"name": name, "type": "merchant", "website": f"merchant-{merchant}.example", "entity_id": entity}
        ],
        "location": {"city": "Poway", "country": "US"},
    }


def _unread(record: dict[str, object]) -> dict[str, object]:
    """Return the fields of a record that no column reads, and those that have more members than are read."""
    entity, website = record["merchant_entity_id"], f"{record['merchant_name']}.example".replace(" ", "-").lower()
    logo = f"https://plaid-merchant-logos.plaid.com/{entity}.png"
    counterparty = {
        "name": record["merchant_name"],
        "type": "merchant",
        "website": website,
        "entity_id": entity,
        "logo_url": logo,
        "confidence_level": "VERY_HIGH",
        "phone_number": None,
        "account_numbers": None,
    }
    return {
        "account_owner": None,
        "category": None,
        "category_id": None,
        "check_number": None,
        "counterparties": [counterparty],
        "location": dict.fromkeys(_LOCATION)
        | {"city": "Poway", "region": "CA", "postal_code": "92064", "country": "US"},
        "logo_url": logo,
        "payment_meta": dict.fromkeys(_PAYMENT_META),
        "personal_finance_category_icon_url": "https://plaid-category-icons.plaid.com/PFC_FOOD_AND_DRINK.png",
        "transaction_code": None,
        "transaction_type": "place",
        "website": website,
    }


def _account(login: int, ordinal: int) -> dict[str, object]:
    token = _id("account", login, ordinal)
    random_number = int.from_bytes(token.encode()[:4])
    return {
        "account_id": token,
        "name": "Checking",
        "official_name": f"Everyday checking account {random_number % 9_999:04}",
        "mask": f"{random_number % 9_999:04}",
        "type": "depository",
        "subtype": "checking",
        "balances": {
            "current": random_number % 1_000_000 / _CENTS,
            "available": random_number % 900_000 / _CENTS,
            "limit": None,
            "iso_currency_code": "USD",
            "unofficial_currency_code": None,
        },
    }


def _id(*values: object) -> str:
    """Return 36 characters that look random, from a hash of the values."""
    digest = hashlib.blake2b(repr(values).encode(), digest_size=27).digest()
    return base64.urlsafe_b64encode(digest).decode()
