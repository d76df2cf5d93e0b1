"""A mail server with a certificate of its own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dev.servers.ports import LOOPBACK, candidates, is_free
from etl.clients.mail_server import MailServer, Security

LOGIN, PASSWORD = "sluice", "correct horse"


@dataclass
class Inbox:
    """Received mails, and answers to the next mails, which are not accepted then."""

    mails: list[EmailMessage] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        content = envelope.original_content or b""
        self.mails.append(message_from_bytes(content, policy=default))
        self.encrypted.append(server.transport is not None and bool(server.transport.get_extra_info("ssl_object")))
        return "250 taken"


class SmtpServer:
    """A context manager; `inbox` holds the received mails."""

    def __init__(self, security: Security, certificate: Path, *, requires_login: bool = False) -> None:
        self.inbox = Inbox()
        self.port = next(port for port in candidates() if is_free(port))
        self._security = security
        context = None
        if security is not Security.PLAIN:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
        options: dict[str, Any] = {"ssl_context": context} if security is Security.TLS else {"tls_context": context}
        options |= {"require_starttls": security is Security.STARTTLS}
        if requires_login:
            options |= {"authenticator": _authenticate, "auth_required": True}
            # The server counts only STARTTLS as TLS.
            options |= {"auth_require_tls": security is Security.STARTTLS}
        self._options = options

    def __enter__(self) -> SmtpServer:
        self._controller = Controller(self.inbox, hostname=LOOPBACK, port=self.port, **self._options)
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def mail_server(self, **changes: Any) -> MailServer:
        extra: dict[str, Any] = {
            "from_email": "Sluice <sluice@bank.example>",
            "to": "on-call@bank.example, second@bank.example",
        }
        extra |= {"disable_ssl": self._security is not Security.TLS, "disable_tls": self._security is Security.PLAIN}
        fields: dict[str, Any] = {"host": LOOPBACK, "port": self.port, "login": "", "password": "", "extra": extra}
        return MailServer.from_connection(**(fields | changes))


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
) -> AuthResult:
    is_valid = data.login == LOGIN.encode() and data.password == PASSWORD.encode()
    return AuthResult(success=is_valid, handled=False)


def write_certificate(path: Path) -> Path:
    """Write a certificate for the loopback address, and its key, to one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail server of the tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(LOOPBACK))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path
