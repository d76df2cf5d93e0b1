"""Who sends to a push service, signed (RFC 8292)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from py_vapid import Vapid02
from yarl import URL

LIFETIME = timedelta(hours=12)
"""How long a signature is good for; services take a day at most."""

_RENEWED = timedelta(hours=1)
_MOST_ORIGINS = 1000


def read_key(text: str) -> EllipticCurvePrivateKey:
    """Read a private key: PEM, or the 32 bytes in base 64 that tools for Web Push print.

    Raises
    ------
    ValueError
        If it is none on the curve P-256.
    """
    key = load_pem_private_key(text.encode(), None) if "-----BEGIN" in text else Vapid02.from_string(text).private_key
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("no private key on the curve P-256")  # noqa: TRY004 - it is a text, with a wrong value
    return key


@dataclass
class Vapid:
    """Signs once for each push service and hour, not for each message.

    Parameters
    ----------
    key
        Its public half is known to the browsers that subscribed.
    subject
        Whom a push service writes to when something is wrong: a `mailto:` or https URL.
    """

    key: EllipticCurvePrivateKey = field(repr=False)
    subject: str
    _signed: dict[URL, tuple[float, str]] = field(default_factory=dict, repr=False)

    def authorization(self, endpoint: URL) -> str:
        """Return the header `Authorization` for an endpoint."""
        origin, now = endpoint.origin(), time.time()
        signed_at, header = self._signed.get(origin, (0.0, ""))
        if now - signed_at >= _RENEWED.total_seconds():
            # Endpoints come from strangers, who may name as many services as they like.
            if len(self._signed) >= _MOST_ORIGINS:
                self._signed.clear()
            claims = {"aud": str(origin), "sub": self.subject, "exp": int(now + LIFETIME.total_seconds())}
            header = str(Vapid02(self.key).sign(claims)["Authorization"])
            self._signed[origin] = now, header
        return header
