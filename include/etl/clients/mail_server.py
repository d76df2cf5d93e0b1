"""Settings of a mail server, read from an Airflow connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from typing import Any

from etl.errors import MailRefused
from etl.mail_address import AddressMalformed, MailAddress, parse_address, parse_addresses

_TIMEOUT = timedelta(seconds=10)


class Security(Enum):
    """How the connection to a mail server is encrypted, with the usual port of each."""

    PLAIN = 25
    STARTTLS = 587
    TLS = 465


@dataclass(frozen=True)
class MailServer:
    """A mail server, and the addresses of what is sent through it.

    Parameters
    ----------
    host, port
        Where it listens.
    security
        How the connection is encrypted.
    from_address
        Sender of the mails, also of their envelopes: bounces go there.
    recipients
        Recipients of alerts; empty where each mail names its own.
    login, password
        Credentials; empty if the server requires none.
    timeout
        Maximum wait for each reply.
    verify_certificate
        Whether its certificate must be one that the system trusts.
    """

    host: str
    port: int
    security: Security
    from_address: MailAddress
    recipients: tuple[MailAddress, ...] = ()
    login: str = ""
    password: str = field(default="", repr=False)
    timeout: timedelta = _TIMEOUT
    verify_certificate: bool = True

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> MailServer:
        """Read an Airflow connection of type `smtp`, as Airflow's own SMTP provider does, and `to` of its extra.

        Raises
        ------
        MailRefused
            If it lacks a host, a sender or a recipient, or one of their addresses is malformed.
        """
        server = cls.from_connection_without_recipients(
            host=host, port=port, login=login, password=password, extra=extra
        )
        to = extra.get("to") or ""
        try:
            recipients = parse_addresses(",".join(map(str, to)) if isinstance(to, list | tuple) else str(to))
        except AddressMalformed as error:
            raise MailRefused(str(server), f"`to` of its connection is no list of mail addresses: {error}") from None
        if not recipients:
            raise MailRefused(str(server), "its connection lacks `to`")
        return replace(server, recipients=recipients)

    @classmethod
    def from_connection_without_recipients(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> MailServer:
        """Read such a connection for mails that name their own recipients; `to` is not read.

        Raises
        ------
        MailRefused
            If it lacks a host or a sender, or the sender's address is malformed.
        """
        if not _is_true(extra.get("disable_ssl")):
            security = Security.TLS
        else:
            security = Security.PLAIN if _is_true(extra.get("disable_tls")) else Security.STARTTLS
        port, from_email = port or security.value, str(extra.get("from_email") or "")
        location = f"{host or '(none)'}:{port}"
        for name, value in (("a host", host), ("`from_email` in its extra", from_email)):
            if not value:
                raise MailRefused(location, f"its connection lacks {name}")
        try:
            from_address = parse_address(from_email)
        except AddressMalformed as error:
            raise MailRefused(location, f"`from_email` of its connection is no mail address: {error}") from None
        return cls(
            host=host,
            port=port,
            security=security,
            from_address=from_address,
            login=login,
            password=password,
            timeout=min(timedelta(seconds=float(extra.get("timeout") or _TIMEOUT.total_seconds())), _TIMEOUT),
            verify_certificate=extra.get("ssl_context") != "none",
        )

    def __str__(self) -> str:
        """Return its host and port."""
        return f"{self.host}:{self.port}"


def _is_true(value: object) -> bool:
    return str(value).strip().lower() in {"true", "1", "yes", "on", "t", "y"}
