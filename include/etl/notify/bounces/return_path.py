"""Signed return paths: the sender of a mail's envelope names its delivery, so that a bounce is matched to it.

Nobody can forge one: a report about a delivery that its sender never got is not believed. They are written in lower
case letters and digits, since some servers change the case of an address.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Iterable
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from etl.settings import ReturnPathSettings

_KEY_PURPOSE = b"sluice: return paths, 1"
"""Input of the key derivation, as for the links to unsubscribe."""

_SIGNATURE_BYTES = 10
_PATTERN = re.compile(r"\+(\d{1,19})\.([a-z2-7]{16})@", re.IGNORECASE)
_MAX_DELIVERY_ID = 2**63 - 1


class ReturnPaths:
    """Signs and verifies return paths, such as `bounce+4711.mzxw6ytboi2dgnrx@example.org`.

    Parameters
    ----------
    settings
        The address that gets bounces, and the keys: the first signs, all verify.
    """

    def __init__(self, settings: ReturnPathSettings) -> None:
        self._local_part, _, self._domain = settings.address.rpartition("@")
        self._keys = [_derive_key(key) for key in settings.keys]

    def build(self, delivery_id: int) -> str:
        """Return the return path of a delivery; empty if bounces go to the sender of the mails."""
        if not self._local_part:
            return ""
        return f"{self._local_part}+{delivery_id}.{_sign(self._keys[0], delivery_id)}@{self._domain}"

    def find(self, texts: Iterable[str]) -> int | None:
        """Return the delivery of the first return path with a valid signature that stands in one of the texts.

        Forwarders write it into the local part of an address of their own, where it is found, too.
        """
        for text in texts:
            for digits, signature in _PATTERN.findall(text):
                delivery_id = int(digits)
                if delivery_id <= _MAX_DELIVERY_ID and self._is_valid(delivery_id, signature.lower()):
                    return delivery_id
        return None

    def _is_valid(self, delivery_id: int, signature: str) -> bool:
        return any(hmac.compare_digest(_sign(key, delivery_id), signature) for key in self._keys)


def _derive_key(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_KEY_PURPOSE).derive(key.encode())


def _sign(key: bytes, delivery_id: int) -> str:
    digest = hmac.digest(key, str(delivery_id).encode(), sha256)
    return b32encode(digest[:_SIGNATURE_BYTES]).decode().lower()
