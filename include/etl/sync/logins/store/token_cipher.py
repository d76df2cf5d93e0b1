"""Encryption of access tokens with the keys in `SLUICE_KEYS`."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from etl.errors import SettingInvalid, TokenUnreadable


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
        except ValueError:
            raise SettingInvalid("SLUICE_KEYS", "comma-separated Fernet keys (32 bytes in URL-safe base64)") from None

    def encrypt(self, token: str) -> bytes:
        """Return the encrypted token."""
        return self._fernet.encrypt(token.encode())

    def decrypt(self, ciphertext: bytes, *, provider_account_id: int) -> str:
        """Return the decrypted token.

        Raises
        ------
        TokenUnreadable
            If none of the keys decrypts it.
        """
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken:
            raise TokenUnreadable(provider_account_id) from None
