"""Messages as files: what a server would be handed, and what is easier to look at."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from etl.declare.channel import Medium
from etl.errors import SettingMissing
from etl.settings import Endpoint
from etl.wire.channels import desktop, push
from etl.wire.channels.channel import Message
from etl.wire.channels.letters import Skeleton
from etl.wire.channels.mailbox import parse

_SUFFIXES = {"text": "txt", "html": "html"}
_SENDERS = ("notices_email", "smtp_default")
_NOBODY = "nobody@sluice.invalid"
"""Who mails are from where no Airflow connection says it."""


def files(medium: Medium, message: Message, *, at: datetime) -> Mapping[str, bytes]:
    """Return the files of a message by name.

    Parameters
    ----------
    at
        When it is sent.

    Raises
    ------
    Unsendable
        If it cannot become what its channel carries.
    """
    match medium.name:
        case "email":
            parts = {
                f"email.{suffix}": message.parts[part].encode()
                for part, suffix in _SUFFIXES.items()
                if part in message.parts
            }
            return {**parts, "email.eml": Skeleton(parse(_sender())).fill(message, at=at).content}
        case "push":
            return {"push.json": _indented(msgspec.json.encode({"message": push.content(message, now=at)}))}
        case "desktop":
            return {"desktop.json": _indented(desktop.payload(message))}
    return {f"{medium.name}.json": _indented(msgspec.json.encode(dict(message.parts)))}


def _sender() -> str:
    for connection in _SENDERS:
        try:
            return str(Endpoint.from_environment(connection).extra.get("from_email") or _NOBODY)
        except SettingMissing:
            continue
    return _NOBODY


def _indented(content: bytes) -> bytes:
    return msgspec.json.format(content, indent=2) + b"\n"
