"""The e-mail channel: mails to many recipients, over a few connections to an SMTP server that stay open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from etl.clients.mail import MailContent
from etl.clients.mail_server import MailServer
from etl.clients.mime import MimeBuilder, MimeMessage, SubjectMalformed
from etl.clients.smtp import SmtpConnection, build_tls_context
from etl.clients.smtp_reply import SmtpOutcome, SmtpResult, SmtpScope, SmtpStage
from etl.errors import ChannelRefused, MailRefused, MailServerUnavailable
from etl.mail_address import AddressMalformed, parse_address
from etl.notify.bounces.return_path import ReturnPaths
from etl.notify.channels.adaptive import Signal
from etl.notify.channels.channel import (
    Message,
    MessageUnsendable,
    Scope,
    SendOutcome,
    SendResult,
    SendStatus,
    redact_error,
)
from etl.notify.channels.destination import find_domain
from etl.notify.channels.dispatcher import Dispatcher

DEFAULT_CONNECTIONS = 8
"""More connections gain nothing with one process at each end."""

_DEFAULT_MAILS_PER_CONNECTION = 1000
_REPLY_TIMEOUT = timedelta(minutes=1)
_MAX_URL_LENGTH = 900
_SENT = SendStatus(SendOutcome.SENT)
_MAX_ATTEMPTS = 3
"""How often a mail is sent that the server defers for a reason of its own, such as too many connections."""


@dataclass(frozen=True)
class EmailConfig:
    """A mail server, and how mails are sent through it.

    Parameters
    ----------
    server
        The server and the sender; its recipients are not read.
    connections
        Connections that are open at the same time.
    mails_per_connection
        Mails after which a connection is opened anew.
    reply_timeout
        Maximum wait for the reply to a mail; after it, nobody knows whether the server has accepted the mail.
    """

    server: MailServer
    connections: int = DEFAULT_CONNECTIONS
    mails_per_connection: int = _DEFAULT_MAILS_PER_CONNECTION
    reply_timeout: timedelta = _REPLY_TIMEOUT

    @classmethod
    def from_connection(
        cls, *, host: str, port: int | None, login: str, password: str, extra: Mapping[str, Any]
    ) -> EmailConfig:
        """Read an Airflow connection of type `smtp`, with `connections` and `mails_per_connection` in its extra.

        Raises
        ------
        ChannelRefused
            If it lacks a host or a sender, or one of its values is invalid.
        """
        try:
            server = MailServer.from_connection_without_recipients(
                host=host, port=port, login=login, password=password, extra=extra
            )
            connections = int(extra.get("connections") or DEFAULT_CONNECTIONS)
            mails_per_connection = int(extra.get("mails_per_connection") or _DEFAULT_MAILS_PER_CONNECTION)
        except MailRefused as error:
            raise ChannelRefused("email", host, error.detail) from None
        except (TypeError, ValueError):
            raise ChannelRefused("email", host, "its extra has an invalid number") from None
        if min(connections, mails_per_connection) < 1:
            raise ChannelRefused("email", host, "its extra has a number less than 1")
        return cls(server, connections, mails_per_connection)


class EmailSender:
    """Sends mails through one SMTP server; see `Sender`.

    Parameters
    ----------
    config
        The server, and how.
    return_paths
        Signs the return path of each mail; None if bounces go to the sender of the mails.
    clock
        Monotonic, in seconds.
    """

    def __init__(
        self,
        config: EmailConfig,
        return_paths: ReturnPaths | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._return_paths = return_paths
        self._mime_builder = MimeBuilder(config.server.from_address)
        self._dispatcher = Dispatcher(concurrency=config.connections, max_attempts=_MAX_ATTEMPTS, clock=clock)
        self._idle: list[SmtpConnection] = []

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return str(self._config.server)

    async def __aenter__(self) -> Self:
        """Open one connection, so that wrong credentials fail at the start.

        Raises
        ------
        ChannelRefused
            If the server permanently refuses it; a server that is unavailable now is no error yet.
        """
        config = self._config
        tls_context = build_tls_context(config.server)
        connections = [
            SmtpConnection(
                config.server,
                tls_context,
                max_mails=config.mails_per_connection,
                reply_timeout=config.reply_timeout,
            )
            for _ in range(config.connections)
        ]
        try:
            await connections[-1].open()
        except MailRefused as error:
            raise ChannelRefused("email", self.host, error.detail) from None
        except MailServerUnavailable:
            pass
        self._idle = connections
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await asyncio.gather(*(connection.close() for connection in self._idle))

    async def send(self, messages: Sequence[Message]) -> list[SendResult]:
        """Send mails, and return their results, in their order."""
        return await self._dispatcher.send(
            messages, self._send, find_destination=lambda each: find_domain(each.address)
        )

    async def _send(self, message: Message) -> SendStatus:
        try:
            mail = build_mail(message, self._mime_builder, sent_at=datetime.now(UTC))
        except MessageUnsendable as error:
            return error.verdict
        if self._return_paths is not None:
            mail = replace(mail, return_path=self._return_paths.build(message.delivery_id))
        # The dispatcher sends no more mails at a time than there are connections.
        connection = self._idle.pop()
        try:
            result = await connection.send(mail)
        finally:
            # Open ones are used first: few mails open few connections, and a server may allow no more.
            self._idle.insert(len(self._idle) if connection.is_open else 0, connection)
        if result.outcome is SmtpOutcome.SENT:
            return _SENT
        return _to_status(result, is_any_open=any(idle.is_open for idle in self._idle))


def _to_status(result: SmtpResult, *, is_any_open: bool) -> SendStatus:
    return SendStatus(
        SendOutcome[result.outcome.name],
        result.error_class,
        redact_error(result.error),
        result.is_mailbox_unknown,
        Scope[result.scope.name],
        signal=_find_signal(result, is_any_open=is_any_open),
    )


def _find_signal(result: SmtpResult, *, is_any_open: bool) -> Signal:
    if result.stage is SmtpStage.CONNECT:
        return Signal.CAPPED if is_any_open else Signal.NOT_CONNECTED
    if not result.is_reply:
        return Signal.SILENT if result.scope is SmtpScope.DESTINATION else Signal.FAULTY
    if result.is_throttled:
        return Signal.THROTTLED
    is_fault = result.outcome is SmtpOutcome.DEFERRED and result.scope is not SmtpScope.RECIPIENT
    return Signal.FAULTY if is_fault else Signal.ANSWERED


def build_mail(message: Message, builder: MimeBuilder, *, sent_at: datetime) -> MimeMessage:
    """Return a message as a mail; its id is that of its delivery, however often it is sent.

    Raises
    ------
    MessageUnsendable
        If its address, subject or link cannot stand in a header, or a part is missing.
    """
    parts = message.parts
    try:
        return builder.build(
            MailContent(parts["subject"], parts["text"], parts.get("html", "")),
            (parse_address(message.address),),
            message_id=f"delivery.{message.delivery_id}",
            sent_at=sent_at,
            extra_headers=_list_unsubscribe_headers(message) if message.unsubscribe_url else b"",
        )
    except AddressMalformed as error:
        raise MessageUnsendable("AddressMalformed", str(error)) from None
    except SubjectMalformed:
        raise MessageUnsendable("SubjectMalformed", "its subject holds a line break or control character") from None
    except UnicodeEncodeError:
        raise MessageUnsendable("TextMalformed", "its text holds half of a surrogate pair") from None
    except KeyError as error:
        raise MessageUnsendable("PartMissing", f"its template renders no {error}") from None


def _list_unsubscribe_headers(message: Message) -> bytes:
    """Return the links that mail programs show as a button (RFC 2369), which they may post to directly (RFC 8058).

    The preferred link is the first. The second header states that a POST suffices, which requires https.
    """
    url, mailto = message.unsubscribe_url, message.unsubscribe_mailto
    if not url.startswith("https://") or not _is_header_safe(url):
        raise MessageUnsendable("LinkMalformed", "its link to unsubscribe is no https URL of one line")
    if mailto and not (mailto.startswith("mailto:") and _is_header_safe(mailto)):
        raise MessageUnsendable("LinkMalformed", "its mail to unsubscribe is no mailto URL of one line")
    links = b"<%b>,\r\n <%b>" % (url.encode(), mailto.encode()) if mailto else b"<%b>" % url.encode()
    return b"List-Unsubscribe: %b\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nPrecedence: bulk\r\n" % links


def _is_header_safe(url: str) -> bool:
    return url.isascii() and url.isprintable() and not set(url) & set("<> ") and len(url) <= _MAX_URL_LENGTH
