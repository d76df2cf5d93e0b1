"""Keyed hashes and random generators, from which everything that the bank generates is derived."""

import struct
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from random import Random
from typing import Self


class HashDomain(Enum):
    """The purpose of a hash. A hash of one domain is not valid in another."""

    PUBLIC_TOKEN = b"public token"
    ACCESS_TOKEN = b"access token"
    CURSOR = b"cursor"
    ITEM = b"item"
    ITEM_ID = b"item id"
    ACCOUNT_ID = b"account id"
    PERSISTENT_ID = b"persistent id"
    DAY = b"day"
    ORDER = b"order"
    TRANSACTION_ID = b"transaction id"
    PENDING_ID = b"pending id"
    CREATED_ID = b"created id"
    PURCHASE_ID = b"purchase id"
    MERCHANTS = b"merchants"
    ENTITY_ID = b"entity id"
    NAMED_ENTITY_ID = b"named entity id"
    REQUEST_ID = b"request id"
    FAULT = b"fault"
    EXTRA_ID = b"extra id"
    SETUP_TOKEN = b"setup token"
    ACCESS_URL = b"access url"


@dataclass(frozen=True, slots=True)
class Key:
    """The bank's only secret, from which tokens, ids, cursors and ledgers are derived."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, seed: str) -> Self:
        """Return the key of a seed, which may be any text."""
        return cls(blake2b(seed.encode()).digest())

    def mac(self, domain: HashDomain, message: bytes, *, size: int) -> bytes:
        """Return the MAC of `message` in `domain`, of `size` bytes (1 to 64)."""
        return blake2b(message, digest_size=size, key=self.secret, person=domain.value).digest()

    def rng(self, domain: HashDomain, *numbers: int) -> Random:
        """Return a random generator; equal arguments give equal sequences."""
        return Random(int.from_bytes(self.mac(domain, pack(*numbers), size=8)))  # noqa: S311 - repeatable by design


def pack(*numbers: int) -> bytes:
    """Return `numbers`, each 0 to 2**64 - 1, as eight big-endian bytes each."""
    return struct.pack(f">{len(numbers)}Q", *numbers)
