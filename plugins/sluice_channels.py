"""Senders of notices, built from one Airflow connection for each channel.

* `notices_email`, of type SMTP: host, port, login, password; its extra holds `from_email`, the encryption,
  `connections` and `mails_per_connection`. Without it, `smtp_default` is used.
* `notices_push`, of type Google Cloud: `keyfile_dict`, the key of a service account of the Firebase project.
* `notices_desktop`, of type HTTP: the login is the VAPID subject (a `mailto:` or https URL), the password its key.
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

    from etl.declare.notice import Channel, Notice
    from etl.notify.send import Senders

log = logging.getLogger(__name__)


class ChannelMissing(PermanentError):
    """There is no Airflow connection for a channel."""

    def __init__(self, channel: str, connection: str, connection_type: str) -> None:
        super().__init__(
            f"{channel}: there is no Airflow connection {connection!r}; add one of type {connection_type}, "
            "see docs/notices.md."
        )


class _SenderFactory(NamedTuple):
    connection_type: str
    connection_ids: tuple[str, ...]
    build: Callable[..., Any]


def build_senders(notice: Notice) -> Senders:
    """Return the senders of a notice, not yet connected, by the names of its channels.

    Raises
    ------
    ChannelMissing
        If there is no Airflow connection for one of the channels.
    ChannelRefused
        If a connection is invalid.
    """
    return {channel.name: _build_sender(channel) for channel in notice.channels}


def _build_sender(channel: Channel) -> Any:  # noqa: ANN401 - the sender of any channel
    factory = _sender_factories()[channel.name]
    connection = _find_connection(channel, factory)
    return factory.build(
        host=connection.host or "",
        port=connection.port,
        login=connection.login or "",
        password=connection.password or "",
        extra=connection.extra_dejson,
    )


def _find_connection(channel: Channel, factory: _SenderFactory) -> Connection:
    for connection_id in factory.connection_ids:
        try:
            return BaseHook.get_connection(connection_id)
        except AirflowNotFoundException:
            log.debug("there is no connection %r", connection_id)
    raise ChannelMissing(channel.name, factory.connection_ids[0], factory.connection_type) from None


def _sender_factories() -> dict[str, _SenderFactory]:
    return {
        "email": _SenderFactory("smtp", ("notices_email", "smtp_default"), _build_email_sender),
        "push": _SenderFactory("google_cloud_platform", ("notices_push",), _build_push_sender),
        "desktop": _SenderFactory("http", ("notices_desktop",), _build_desktop_sender),
    }


def _build_email_sender(**connection: Any) -> Any:  # noqa: ANN401 - fields of a connection
    from etl.notify.bounces.return_path import ReturnPaths
    from etl.notify.channels.email import EmailConfig, EmailSender
    from etl.settings import ReturnPathSettings

    return_paths = ReturnPaths(ReturnPathSettings.from_environment())
    return EmailSender(EmailConfig.from_connection(**connection), return_paths)


def _build_push_sender(**connection: Any) -> Any:  # noqa: ANN401 - likewise
    from etl.notify.channels.fcm import FcmConfig, FcmSender

    return FcmSender(FcmConfig.from_connection(**connection))


def _build_desktop_sender(**connection: Any) -> Any:  # noqa: ANN401 - likewise
    from etl.notify.channels.webpush import WebPushConfig, WebPushSender

    return WebPushSender(WebPushConfig.from_connection(**connection))
