"""Pages and records as Plaid sends them."""

from __future__ import annotations

import msgspec

_TRANSACTION = {
    "account_id": "BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp",
    "transaction_id": "lPNjeW1nR6CDn5okmGQ6hEpMo4lLNoSrzqDje",
    "amount": 72.1,
    "iso_currency_code": "USD",
    "unofficial_currency_code": None,
    "date": "2026-11-20",
    "datetime": "2026-11-20T11:01:01Z",
    "authorized_date": "2026-11-19",
    "authorized_datetime": None,
    "pending": False,
    "pending_transaction_id": None,
    "name": "PURCHASE HARBOUR DELI 1700",
    "merchant_name": "Harbour Deli",
    "merchant_entity_id": "O5W5j4dN9OR3E6ypQmjdkWZZRoXEzVMz2ByWM",
    "payment_channel": "in store",
    "personal_finance_category": {"primary": "FOOD_AND_DRINK", "detailed": "FOOD_AND_DRINK_RESTAURANT"},
    "location": {"city": "Poway", "lat": 32.959068},
}


def transaction(**changes: object) -> dict[str, object]:
    """Return a transaction record with some fields changed."""
    return {**_TRANSACTION, **changes}


def page(
    *,
    added: list[dict[str, object]] | None = None,
    modified: list[dict[str, object]] | None = None,
    removed: list[dict[str, object]] | None = None,
    next_cursor: str = "bmV4dA==",
    has_more: bool = False,
) -> bytes:
    """Return the body of a page of /transactions/sync."""
    return msgspec.json.encode(
        {
            "added": added or [],
            "modified": modified or [],
            "removed": removed or [],
            "next_cursor": next_cursor,
            "has_more": has_more,
        }
    )
