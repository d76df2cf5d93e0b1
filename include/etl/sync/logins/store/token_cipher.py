"""Encryption of tokens with the keys in `SLUICE_KEYS`, each bound to the login that it is of.

    01 | key id (4 bytes) | nonce (12) | AES-256-GCM of the token, with its login as associated data

Tokens of before are Fernet tokens, which are bound to nothing; `sluice keys rotate` replaces them.
"""

import hashlib
import os
from base64 import urlsafe_b64decode
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from etl.errors import SettingInvalid, TokenUnreadable

_FORMAT = b"\x01"
_KEY_ID_LENGTH, _NONCE_LENGTH = 4, 12
_HEADER_LENGTH = len(_FORMAT) + _KEY_ID_LENGTH
_UNBOUND = b"gAAAA"
"""Beginning of every Fernet token."""


class TokenCipher:
    """Encrypts with the first key and decrypts with any, so that keys can be rotated.

    Parameters
    ----------
    keys
        Fernet keys, newest first.

    Raises
    ------
    SettingInvalid
        If one is not a Fernet key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
            secrets = [urlsafe_b64decode(key) for key in keys]
        except ValueError:
            raise SettingInvalid("SLUICE_KEYS", "comma-separated Fernet keys (32 bytes in URL-safe base64)") from None
        self._ciphers = {_key_id(secret): AESGCM(_derive(secret)) for secret in secrets}

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys, newest first; they tell nothing of the keys."""
        return tuple(key_id.hex() for key_id in self._ciphers)

    @property
    def header(self) -> bytes:
        """The first bytes of every token that is encrypted now."""
        return _FORMAT + next(iter(self._ciphers))

    def encrypt(self, token: str, *, provider_account_id: int, provider: str = "") -> bytes:
        """Return the encrypted token.

        Parameters
        ----------
        provider_account_id
            The login that it is of.
        provider
            Of a token that is of all logins of a provider: its name.
        """
        nonce = os.urandom(_NONCE_LENGTH)
        cipher = next(iter(self._ciphers.values()))
        sealed = cipher.encrypt(nonce, token.encode(), _owner(provider_account_id, provider))
        return self.header + nonce + sealed

    def decrypt(self, ciphertext: bytes, *, provider_account_id: int, provider: str = "") -> str:
        """Return the decrypted token.

        Raises
        ------
        TokenUnreadable
            If none of the keys decrypts it, or it was encrypted for another login.
        """
        try:
            if ciphertext.startswith(_UNBOUND):
                return self._fernet.decrypt(ciphertext).decode()
            cipher = self._ciphers[ciphertext[len(_FORMAT) : _HEADER_LENGTH]]
            nonce, sealed = ciphertext[_HEADER_LENGTH:][:_NONCE_LENGTH], ciphertext[_HEADER_LENGTH + _NONCE_LENGTH :]
            return cipher.decrypt(nonce, sealed, _owner(provider_account_id, provider)).decode()
        except (InvalidToken, KeyError):
            raise TokenUnreadable(provider_account_id) from None
        except (InvalidTag, ValueError):
            raise TokenUnreadable(provider_account_id, is_foreign=True) from None


def _owner(provider_account_id: int, provider: str) -> bytes:
    return f"{provider}/{provider_account_id}".encode()


def _key_id(secret: bytes) -> bytes:
    return hashlib.sha256(b"id of a key" + secret).digest()[:_KEY_ID_LENGTH]


def _derive(secret: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"tokens of logins").derive(secret)
