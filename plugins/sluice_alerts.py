"""Airflow callbacks that send alert mails: after a share of a run's deadline, and when a run has ended.

`on_deadline` runs in the triggerer, the others in the Dag processor. Neither may use Airflow's own database, except
through the connection `airflow_db`. Blocking calls are made in threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf

import sluice_connections as connections
from etl import catalog_folder
from etl.alerts.alert import AlertKind
from etl.errors import MailRefused, MailServerUnavailable

if TYPE_CHECKING:
    from etl.alerts.context import CallbackRun
    from etl.alerts.store.outbox import OutboxMail
    from etl.clients.mail_server import MailServer
    from etl.db.connection import Connection
    from etl.declare.entity import Entity

MAIL_CONNECTION_ID = "smtp_default"
_TIMEOUT_SECONDS = 40.0
"""Seconds; the Dag processor stops the callbacks of a file after 50."""

log = logging.getLogger(__name__)


async def on_deadline(*, entity: str, seconds_left: float, context: Mapping[str, Any]) -> None:
    """Send an alert if a run has missed its deadline, or is expected to.

    Parameters
    ----------
    entity
        Entity that the run's chunks load; empty if it has none.
    seconds_left
        Seconds from this check until the run's deadline; 0 if this check is the one at the deadline.
    context
        The run and the time of this check, from Airflow.
    """
    check_at = _parse_instant(context["deadline"]["deadline_time"])
    deadline_at = check_at + timedelta(seconds=seconds_left) if check_at else None
    kind = AlertKind.FORECAST if seconds_left else AlertKind.MISSED
    await _send_alerts([kind], context, entity, deadline_at)


def on_success(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Send an alert that a run has succeeded if an earlier one said that it is late, and one if many logins stopped."""
    asyncio.run(_send_alerts([AlertKind.RECOVERED, AlertKind.LOGINS_STOPPED], context, entity))


def on_failure(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Send an alert that a run has failed."""
    asyncio.run(_send_alerts([AlertKind.FAILED], context, entity))


@contextmanager
def told_of_holds(context: Mapping[str, Any], notice_run: int, db: Connection) -> Iterator[None]:
    """Send an alert if the run of a notice is held in the block, or was and sends again."""
    from etl.notify.store import runs

    was_held = runs.find(db, notice_run).is_refused
    try:
        yield
    finally:
        if not db.broken and (was_held or runs.find(db, notice_run).is_refused):
            _on_hold(context)


def _on_hold(context: Mapping[str, Any]) -> None:
    """Send the alert that is due; a failure to do so never fails the sending task."""
    try:
        asyncio.run(_send_alerts([AlertKind.HELD, AlertKind.RESUMED], context, ""))
    except Exception as error:  # noqa: BLE001 - the run is more important than the mail about it
        log.warning("an alert that the run is held, or continues, could not be sent: %s", error)


async def _send_alerts(
    kinds: Sequence[AlertKind], context: Mapping[str, Any], entity: str, deadline_at: datetime | None = None
) -> None:
    """Send the alerts that are due, and retry mails of earlier alerts that could not be sent."""
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        mails = await asyncio.to_thread(_collect_mails, kinds, context, entity, deadline_at)
        if mails:
            errors = await _send_mails(mails)
            await asyncio.to_thread(_record_results, mails, errors)


def _collect_mails(
    kinds: Sequence[AlertKind], context: Mapping[str, Any], entity: str, deadline_at: datetime | None
) -> list[OutboxMail]:
    from etl.alerts import decide
    from etl.alerts.store import outbox
    from etl.clients import smtp  # noqa: F401 - imported in this thread, so that the import does not block the event loop
    from etl.db.connection import WarehouseUnreachable

    run, reason = _callback_run(context, entity), str(context.get("reason") or "")
    checks = [decide.AlertCheck(run, kind, datetime.now(UTC), deadline_at, reason) for kind in kinds]
    with ExitStack() as stack:
        metadata = stack.enter_context(connections.metadata_db())
        try:
            db = stack.enter_context(connections.warehouse())
        except WarehouseUnreachable as error:
            unsaved = [
                decide.compose_unsaved_alert(check, metadata_db=metadata, connection_error=str(error))
                for check in checks
            ]
            return [mail for mail in unsaved if mail]
        due = [decide.enqueue_due_alert(check, db=db, metadata_db=metadata) for check in checks]
        new = [mail for mail in due if mail]
        return [*new, *outbox.claim_unsent(db, except_ids=[mail.promise_id for mail in new])]


async def _send_mails(mails: list[OutboxMail]) -> dict[int, str]:
    """Send mails, and return the errors of those that were not sent, by id.

    Once the server does not answer, the remaining mails are not attempted.
    """
    from etl.clients import smtp

    errors: dict[int, str] = {}
    unavailable = ""
    try:
        server = await _mail_server()
    except MailRefused as error:
        return {mail.promise_id: str(error) for mail in mails}
    for mail in mails:
        try:
            if not unavailable:
                await smtp.send(mail.content, server, message_id=mail.message_id, thread_id=mail.thread_id)
        except MailServerUnavailable as error:
            unavailable = str(error)
        except MailRefused as error:
            errors[mail.promise_id] = str(error)
        if unavailable:
            errors[mail.promise_id] = unavailable
    return errors


def _record_results(mails: list[OutboxMail], errors: Mapping[int, str]) -> None:
    from etl.alerts.store import outbox

    for mail in mails:
        if error := errors.get(mail.promise_id):
            log.error("%s: run %s: the mail %r was not sent: %s", mail.dag_id, mail.run_id, mail.subject, error)
    saved = [mail for mail in mails if mail.promise_id != outbox.UNSAVED_ID]
    if not saved:
        return
    with connections.warehouse() as db:
        for mail in saved:
            if error := errors.get(mail.promise_id):
                outbox.mark_failed(db, mail, error)
            else:
                outbox.mark_sent(db, mail)


async def _mail_server() -> MailServer:
    from airflow.sdk.exceptions import AirflowNotFoundException

    from etl.clients.mail_server import MailServer

    try:
        connection = await BaseHook.aget_connection(MAIL_CONNECTION_ID)
    except AirflowNotFoundException:
        raise MailRefused("(none)", f"there is no connection {MAIL_CONNECTION_ID!r}") from None
    return MailServer.from_connection(
        host=connection.host or "",
        port=connection.port,
        login=connection.login or "",
        password=connection.password or "",
        # `extra_dejson` would ask the supervisor to mask secrets, a blocking call that is forbidden in an event loop.
        extra=json.loads(connection.extra or "{}"),
    )


def _callback_run(context: Mapping[str, Any], entity: str) -> CallbackRun:
    """Return the run of a callback, whose context describes it as a mapping, as an object, or by its id only."""
    from etl.alerts.context import CallbackRun

    dag_run = context.get("dag_run") or {}
    fields = dag_run if isinstance(dag_run, Mapping) else vars(dag_run)
    dag_id = fields.get("dag_id") or context["dag"].dag_id
    run_id = fields.get("dag_run_id") or fields.get("run_id") or context["run_id"]
    ui = conf.get("api", "base_url", fallback="").rstrip("/")
    return CallbackRun(
        dag_id=dag_id,
        run_id=run_id,
        run_type=_enum_text(fields.get("run_type")) or run_id.partition("__")[0],
        state=_enum_text(fields.get("state")),
        url=f"{ui}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        started_at=_parse_instant(fields.get("start_date")),
        entity=_find_entity(entity),
    )


def _find_entity(name: str) -> Entity | None:
    """Return an entity; the triggerer, which runs for weeks, reads the declarations again to find a new one."""
    found = _declared_entity(name)
    if found is None and name:
        prefixes = ("etl.catalog.entities.", f"{catalog_folder.PACKAGE}.")
        for module in [each for each in sys.modules if f"{each}.".startswith(prefixes)]:
            del sys.modules[module]
        found = _declared_entity(name)
    return found


def _declared_entity(name: str) -> Entity | None:
    from etl.catalog.entities import ENTITIES

    return next((entity for entity in ENTITIES if entity.name == name), None)


def _enum_text(value: Any) -> str:  # noqa: ANN401 - an enum, its value, or None
    return str(getattr(value, "value", value) or "")


def _parse_instant(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
