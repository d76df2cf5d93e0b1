"""Links that end messages of a category: sealed, so that nobody can make one up, or read whose it is.

A link needs no row in the database, and is good for as long as its key is kept: mails lie for years.
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
"""A key of another purpose that is derived from the same secret has nothing in common with this one."""

_USER_ID_BYTES = 8
_TOKEN_PATTERN = re.compile(r"(?:.*(?:[?&]token=|\s))?([0-9a-fA-F]{50,1000})(?:[&#>].*)?")
_MAX_LENGTH = 4_000


class UnsubscribeLinkInvalid(PermanentError):
    """A link to unsubscribe was not written here, or is not whole; it is never shown."""

    def __init__(self) -> None:
        super().__init__(
            f"this is no link to unsubscribe that was sent from here; copy it whole, and see that {LINK_KEYS} still "
            "holds the key that was its first when the message was sent."
        )


@dataclass(frozen=True)
class UnsubscribeLink:
    """How a recipient ends messages of a category; both are empty if they cannot.

    Parameters
    ----------
    url
        Where a person confirms it, and where a mailbox posts to.
    mailto
        A mail that asks for it; empty if nobody reads such mails.
    """

    url: str = field(default="", repr=False)
    mailto: str = field(default="", repr=False)


@dataclass(frozen=True)
class UnsubscribeTarget:
    """What a link ends.

    Parameters
    ----------
    user_id
        Whose messages; whoever was forwarded one can end them too, and undo nothing.
    category
        Of which category, over every channel.
    """

    user_id: int
    category: str


class UnsubscribeLinks:
    """Writes links and reads them.

    Sealing is AES-SIV (RFC 5297): it needs no nonce and takes some 2 µs, and one link of a user and category is like
    the other. What is sealed is the user's number and the category, never an address.

    Parameters
    ----------
    settings
        Where links lead, and their keys: the first seals, all open.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._url = settings.url
        self._mailto = settings.mailto
        self._ciphers = [AESSIV(_derive_key(key)) for key in settings.keys]

    def has_link(self, category: Category) -> bool:
        """Return whether messages of a category get a link."""
        return bool(self._url) and category.consent is not Consent.NONE

    def build(self, user_id: int, category: Category) -> UnsubscribeLink:
        """Return the link of a user's messages of a category; an empty one if they get none."""
        if not self.has_link(category):
            return UnsubscribeLink()
        sealed = user_id.to_bytes(_USER_ID_BYTES, signed=True) + category.name.encode()
        token = self._ciphers[0].encrypt(sealed, None).hex()
        mailto = f"mailto:{quote(self._mailto, safe='@')}?subject=unsubscribe%20{token}" if self._mailto else ""
        return UnsubscribeLink(f"{self._url}{'&' if '?' in self._url else '?'}token={token}", mailto)

    def decode(self, text: str) -> UnsubscribeTarget:
        """Return what a link ends.

        Parameters
        ----------
        text
            The link, its token, or the subject of the mail that asks for it.

        Raises
        ------
        LinkInvalid
            If it was not sealed with one of the keys.
        SettingMissing
            If there is no key.
        """
        if not self._ciphers:
            raise SettingMissing(LINK_KEYS, "comma-separated secrets, or SLUICE_KEYS the keys that stand in for them")
        found = _TOKEN_PATTERN.fullmatch(text.strip()) if len(text) <= _MAX_LENGTH else None
        if found is None or len(found[1]) % 2:
            raise UnsubscribeLinkInvalid
        sealed = bytes.fromhex(found[1])
        for cipher in self._ciphers:
            try:
                opened = cipher.decrypt(sealed, None)
            except InvalidTag:
                continue
            return UnsubscribeTarget(
                int.from_bytes(opened[:_USER_ID_BYTES], signed=True), opened[_USER_ID_BYTES:].decode()
            )
        raise UnsubscribeLinkInvalid


def _derive_key(key: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=64, salt=None, info=_KEY_PURPOSE).derive(key.encode())
