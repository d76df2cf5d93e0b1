"""Links to unsubscribe from a category: encrypted and authenticated, so that nobody can forge one or read whose it is.

A link needs no row in the database, and is valid as long as its key is kept, since people keep mails for years.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from etl.declare.notice import Category, Consent
from etl.errors import PermanentError, SettingMissing
from etl.settings import LINK_KEYS, LinkSettings

_KEY_PURPOSE = b"sluice: links to unsubscribe, 1"
"""Input of the key derivation: keys for other purposes, derived from the same secret, reveal nothing about this one."""

_USER_ID_BYTES = 8
_TOKEN_PATTERN = re.compile(r"(?:.*(?:[?&]token=|\s))?([0-9a-fA-F]{50,1000})(?:[&#>].*)?")
_MAX_LENGTH = 4_000


class UnsubscribeLinkInvalid(PermanentError):
    """An unsubscribe link was not created here, or is incomplete; the message never shows it."""

    def __init__(self) -> None:
        super().__init__(
            "this is no link to unsubscribe that was sent from here; copy it completely, and check that "
            f"{LINK_KEYS} still holds the key that was the first when the message was sent."
        )


@dataclass(frozen=True)
class UnsubscribeLink:
    """How a recipient unsubscribes from a category; both fields are empty if they cannot.

    Parameters
    ----------
    url
        Page where a person confirms it, and to which mail programs post.
    mailto
        Link to a mail that asks for it; empty if nobody reads such mails.
    """

    url: str = field(default="", repr=False)
    mailto: str = field(default="", repr=False)


@dataclass(frozen=True)
class UnsubscribeTarget:
    """The user and the category that a link unsubscribes.

    Parameters
    ----------
    user_id
        The user; anybody to whom the message was forwarded can unsubscribe them, but not subscribe them again.
    category
        The category, over all channels.
    """

    user_id: int
    category: str


class UnsubscribeLinks:
    """Builds and decodes links.

    Tokens are encrypted by AES-SIV (RFC 5297): it needs no nonce, takes some 2 µs, and gives the same token for the
    same user and category. A token holds the user's number and the category, never an address.

    Parameters
    ----------
    settings
        The target of links, and their keys: the first encrypts, all decrypt.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._url = settings.url
        self._mailto = settings.mailto
        self._ciphers = [AESSIV(_derive_key(key)) for key in settings.keys]

    def has_link(self, category: Category) -> bool:
        """Return whether messages of a category get a link."""
        return bool(self._url) and category.consent is not Consent.NONE

    def build(self, user_id: int, category: Category) -> UnsubscribeLink:
        """Return the link for a user and a category; an empty one if the category has none."""
        if not self.has_link(category):
            return UnsubscribeLink()
        plaintext = user_id.to_bytes(_USER_ID_BYTES, signed=True) + category.name.encode()
        token = self._ciphers[0].encrypt(plaintext, None).hex()
        mailto = f"mailto:{quote(self._mailto, safe='@')}?subject=unsubscribe%20{token}" if self._mailto else ""
        return UnsubscribeLink(f"{self._url}{'&' if '?' in self._url else '?'}token={token}", mailto)

    def decode(self, text: str) -> UnsubscribeTarget:
        """Return the user and the category of a link.

        Parameters
        ----------
        text
            The link, its token, or the subject of the mail that asks for it.

        Raises
        ------
        UnsubscribeLinkInvalid
            If it was not encrypted with one of the keys.
        SettingMissing
            If there is no key.
        """
        if not self._ciphers:
            raise SettingMissing(LINK_KEYS, "comma-separated secrets, unless SLUICE_KEYS is set, which is used then")
        match = _TOKEN_PATTERN.fullmatch(text.strip()) if len(text) <= _MAX_LENGTH else None
        if match is None or len(match[1]) % 2:
            raise UnsubscribeLinkInvalid
        token = bytes.fromhex(match[1])
        for cipher in self._ciphers:
            try:
                plaintext = cipher.decrypt(token, None)
            except InvalidTag:
                continue
            return UnsubscribeTarget(
                int.from_bytes(plaintext[:_USER_ID_BYTES], signed=True), plaintext[_USER_ID_BYTES:].decode()
            )
        raise UnsubscribeLinkInvalid


def _derive_key(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=_KEY_PURPOSE).derive(key.encode())
