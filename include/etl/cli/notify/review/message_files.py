"""The files in which a message is shown before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from etl.errors import SettingMissing
from etl.settings import Endpoint

if TYPE_CHECKING:
    from etl.declare.channel import Channel
    from etl.notify.channels.channel import Message

_FILE_SUFFIXES = {"text": "txt", "html": "html"}
SENDER_CONNECTIONS = ("notices_email", "smtp_default")
_FALLBACK_SENDER = "nobody@sluice.invalid"
"""Sender of mails if no Airflow connection names one."""


def message_files(channel: Channel, message: Message, *, sent_at: datetime) -> Mapping[str, bytes]:
    """Return the files of a message by name.

    Parameters
    ----------
    sent_at
        Instant that the message names as the time of its sending.

    Raises
    ------
    MessageUnsendable
        If the message cannot be encoded for its channel.
    """
    import msgspec

    from etl.clients.mime import MimeBuilder
    from etl.mail_address import parse_address
    from etl.notify.channels import fcm, webpush
    from etl.notify.channels.email import build_mail

    match channel.name:
        case "email":
            parts = {
                f"email.{suffix}": message.parts[part].encode()
                for part, suffix in _FILE_SUFFIXES.items()
                if part in message.parts
            }
            mail = build_mail(message, MimeBuilder(parse_address(from_address())), sent_at=sent_at)
            return {**parts, "email.eml": mail.content}
        case "push":
            request = msgspec.json.encode({"message": fcm.build_message(message, now=sent_at)})
            return {"push.json": _indent_json(request)}
        case "desktop":
            return {"desktop.json": _indent_json(webpush.build_payload(message))}
    return {f"{channel.name}.json": _indent_json(msgspec.json.encode(dict(message.parts)))}


def from_address() -> str:
    """Return the sender that mails would have."""
    for connection in SENDER_CONNECTIONS:
        try:
            return str(Endpoint.from_environment(connection).extra.get("from_email") or _FALLBACK_SENDER)
        except SettingMissing:
            continue
    return _FALLBACK_SENDER


def _indent_json(content: bytes) -> bytes:
    import msgspec

    return msgspec.json.format(content, indent=2) + b"\n"
