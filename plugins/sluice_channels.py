"""Channels from Airflow connections, one for each medium.

* `notices_email`, of type SMTP: host, port, login, password; in its extra `from_email`, how to encrypt, `connections`
  and `mails_per_connection`. Without it, `smtp_default` is used.
* `notices_push`, of type Google Cloud: `keyfile_dict`, the key of a service account of the Firebase project.
* `notices_desktop`, of type HTTP: its login is the subject (a `mailto:` or https URL), its password the VAPID key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from etl.errors import PermanentError

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from etl.declare.notice import Medium, Notice
    from etl.notify.send import Channels

log = logging.getLogger(__name__)


class ChannelMissing(PermanentError):
    """There is no connection to the server of a channel."""

    def __init__(self, channel: str, connection: str, kind: str) -> None:
        super().__init__(
            f"{channel}: there is no Airflow connection {connection!r}; add one of type {kind}, see docs/notices.md."
        )


class _Way(NamedTuple):
    kind: str
    connections: tuple[str, ...]
    build: Callable[..., Any]


def channels(notice: Notice) -> Channels:
    """Return the channels of a notice, closed, by the names of its media.

    Raises
    ------
    ChannelMissing
        If there is no Airflow connection for one of them.
    ChannelRefused
        If a connection says something that cannot be used.
    """
    return {medium.name: _channel(medium) for medium in notice.channels}


def _channel(medium: Medium) -> Any:  # noqa: ANN401 - a channel of any kind
    way = _ways()[medium.name]
    held = _connection(medium, way)
    return way.build(
        host=held.host or "",
        port=held.port,
        login=held.login or "",
        password=held.password or "",
        extra=held.extra_dejson,
    )


def _connection(medium: Medium, way: _Way) -> Connection:
    for connection in way.connections:
        try:
            return BaseHook.get_connection(connection)
        except AirflowNotFoundException:
            log.debug("there is no connection %r", connection)
    raise ChannelMissing(medium.name, way.connections[0], way.kind) from None


def _ways() -> dict[str, _Way]:
    return {
        "email": _Way("smtp", ("notices_email", "smtp_default"), _email),
        "push": _Way("google_cloud_platform", ("notices_push",), _push),
        "desktop": _Way("http", ("notices_desktop",), _desktop),
    }


def _email(**held: Any) -> Any:  # noqa: ANN401 - of a connection
    from etl.notify.channels.email import EmailChannel, Mailing

    return EmailChannel(Mailing.of_connection(**held))


def _push(**held: Any) -> Any:  # noqa: ANN401 - likewise
    from etl.notify.channels.fcm import PushChannel, PushProject

    return PushChannel(PushProject.of_connection(**held))


def _desktop(**held: Any) -> Any:  # noqa: ANN401 - likewise
    from etl.notify.channels.webpush import DesktopChannel, WebPushSender

    return DesktopChannel(WebPushSender.of_connection(**held))
