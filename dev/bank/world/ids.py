"""Ids that look like the provider's: 37 letters and digits, case-sensitive."""

import string
from datetime import date

from dev.bank.world.seed import HashDomain, Key, pack

ID_LENGTH = 37
REQUEST_ID_LENGTH = 15

_ALPHABET = (string.digits + string.ascii_letters).encode()
_LETTER_OF_BYTE = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))


def item_id(key: Key, item: int) -> str:
    """Return the id of item number `item`."""
    return _encode(key, HashDomain.ITEM_ID, pack(item))


def account_id(key: Key, item: int, account: int) -> str:
    """Return the id of the item's account number `account`, 0-based."""
    return _encode(key, HashDomain.ACCOUNT_ID, pack(item, account))


def persistent_account_id(key: Key, item: int, account: int) -> str:
    """Return the id that the account keeps when its login is linked again."""
    return _encode(key, HashDomain.PERSISTENT_ID, pack(item, account))


def transaction_id(key: Key, item: int, created_on: date, ordinal: int) -> str:
    """Return the posted id of the item's transaction number `ordinal`, 0-based, of those created on a day."""
    return _encode(key, HashDomain.TRANSACTION_ID, pack(item, created_on.toordinal(), ordinal))


def pending_id(key: Key, item: int, created_on: date, ordinal: int) -> str:
    """Return the pending id of the same transaction as `transaction_id`."""
    return _encode(key, HashDomain.PENDING_ID, pack(item, created_on.toordinal(), ordinal))


def created_id(key: Key, item: int, ordinal: int) -> str:
    """Return the id of the item's transaction number `ordinal`, 0-based, of those created by requests."""
    return _encode(key, HashDomain.CREATED_ID, pack(item, ordinal))


def purchase_id(key: Key, source: str, row: int) -> str:
    """Return the id of the purchase in row `row` of the publication `source`."""
    return _encode(key, HashDomain.PURCHASE_ID, pack(row) + source.encode())


def entity_id(key: Key, merchant: int) -> str:
    """Return the id of merchant number `merchant`, 0-based."""
    return _encode(key, HashDomain.ENTITY_ID, pack(merchant))


def named_entity_id(key: Key, name: str) -> str:
    """Return the id of a merchant of whom only `name` is known."""
    return _encode(key, HashDomain.NAMED_ENTITY_ID, name.encode())


def extra_id(key: Key, item: int, name: str) -> str:
    """Return the id of a transaction that the item has besides those that were created on its days."""
    return _encode(key, HashDomain.EXTRA_ID, pack(item) + name.encode())


def request_id(key: Key, path: str, body: bytes) -> str:
    """Return the id of a request. Equal requests have equal ids, so that whole responses are repeatable."""
    return _encode(key, HashDomain.REQUEST_ID, path.encode() + b"\0" + body, length=REQUEST_ID_LENGTH)


def _encode(key: Key, domain: HashDomain, message: bytes, *, length: int = ID_LENGTH) -> str:
    return key.mac(domain, message, size=length).translate(_LETTER_OF_BYTE).decode()
