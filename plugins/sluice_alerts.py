"""What Airflow calls when a share of a promise is over, and when a run ended: a mail goes out, if there is news.

`on_deadline` runs in the triggerer, the others in the Dag processor. Neither may use Airflow's own database,
save through the connection `airflow_db`. Whatever blocks is done in threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf

import sluice_connections as connections
from etl.alerts.alert import AlertKind
from etl.errors import MailRefused, MailServerUnavailable

if TYPE_CHECKING:
    from etl.alerts.context import CallbackRun
    from etl.alerts.store.outbox import OutboxMail
    from etl.clients.smtp import MailServer
    from etl.declare.entity import Entity

MAIL_CONNECTION_ID = "smtp_default"
_TIMEOUT_SECONDS = 40.0
"""Seconds; the Dag processor ends a file's callbacks after 50."""

log = logging.getLogger(__name__)


async def on_deadline(*, entity: str, seconds_left: float, context: Mapping[str, Any]) -> None:
    """Tell that a run is late, or is going to be.

    Parameters
    ----------
    entity
        What its chunks load; empty if it has none.
    seconds_left
        Seconds from the alert that calls until the promise is over; 0 if it is the promise itself.
    context
        The run and the alert's deadline, from Airflow.
    """
    alert_at = _parse_instant(context["deadline"]["deadline_time"])
    promised_by = alert_at + timedelta(seconds=seconds_left) if alert_at else None
    await _send_alerts(AlertKind.FORECAST if seconds_left else AlertKind.MISSED, context, entity, promised_by)


def on_success(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run is done after all, if people were told that it would not be."""
    asyncio.run(_send_alerts(AlertKind.RECOVERED, context, entity))


def on_failure(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run failed."""
    asyncio.run(_send_alerts(AlertKind.FAILED, context, entity))


async def _send_alerts(
    kind: AlertKind, context: Mapping[str, Any], entity: str, promised_by: datetime | None = None
) -> None:
    """Send what there is to tell, and what could not be sent before."""
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        letters = await asyncio.to_thread(_collect_mails, kind, context, entity, promised_by)
        if letters:
            errors = await _send_mails(letters)
            await asyncio.to_thread(_record_results, letters, errors)


def _collect_mails(
    kind: AlertKind, context: Mapping[str, Any], entity: str, promised_by: datetime | None
) -> list[OutboxMail]:
    import psycopg

    from etl.alerts import decide
    from etl.alerts.store import outbox
    from etl.clients import smtp  # noqa: F401 - here its import does not hold the event loop up

    asked = decide.AlertCheck(
        _callback_run(context, entity), kind, datetime.now(UTC), promised_by, str(context.get("reason") or "")
    )
    with ExitStack() as opened:
        metadata = opened.enter_context(connections.metadata_db())
        try:
            db = opened.enter_context(connections.warehouse())
        except psycopg.OperationalError as error:
            letter = decide.compose_unsaved_alert(asked, metadata_db=metadata, connection_error=str(error))
            return [letter] if letter else []
        letter = decide.enqueue_due_alert(asked, db=db, metadata_db=metadata)
        new = [letter] if letter else []
        return [*new, *outbox.claim_unsent(db, except_ids=[letter.promise_id for letter in new])]


async def _send_mails(mails: list[OutboxMail]) -> dict[int, str]:
    """Send mails, and return why some could not be, by id; a server that does not answer is not asked again."""
    from etl.clients import smtp

    errors: dict[int, str] = {}
    silent = ""
    try:
        server = await _mail_server()
    except MailRefused as error:
        return {letter.promise_id: str(error) for letter in mails}
    for letter in mails:
        try:
            if not silent:
                await smtp.send(letter.content, server, message_id=letter.message_id, thread_id=letter.thread_id)
        except MailServerUnavailable as error:
            silent = str(error)
        except MailRefused as error:
            errors[letter.promise_id] = str(error)
        if silent:
            errors[letter.promise_id] = silent
    return errors


def _record_results(mails: list[OutboxMail], errors: Mapping[int, str]) -> None:
    from etl.alerts.store import outbox

    for letter in mails:
        if error := errors.get(letter.promise_id):
            log.error("%s: run %s: the mail %r was not sent: %s", letter.dag_id, letter.run_id, letter.subject, error)
    kept = [letter for letter in mails if letter.promise_id != outbox.UNSAVED_ID]
    if not kept:
        return
    with connections.warehouse() as db:
        for letter in kept:
            if error := errors.get(letter.promise_id):
                outbox.mark_failed(db, letter, error)
            else:
                outbox.mark_sent(db, letter)


async def _mail_server() -> MailServer:
    from airflow.sdk.exceptions import AirflowNotFoundException

    from etl.clients.smtp import MailServer

    try:
        held = await BaseHook.aget_connection(MAIL_CONNECTION_ID)
    except AirflowNotFoundException:
        raise MailRefused("(none)", f"there is no connection {MAIL_CONNECTION_ID!r}") from None
    return MailServer.from_connection(
        host=held.host or "",
        port=held.port,
        login=held.login or "",
        password=held.password or "",
        # Its own way to read the extra would ask for secrets to be masked, which must not be done in an event loop.
        extra=json.loads(held.extra or "{}"),
    )


def _callback_run(context: Mapping[str, Any], entity: str) -> CallbackRun:
    """Return the run that Airflow speaks of, in whichever of its three forms."""
    from etl.alerts.context import CallbackRun

    dag_run = context.get("dag_run") or {}
    known = dag_run if isinstance(dag_run, Mapping) else vars(dag_run)
    dag_id = known.get("dag_id") or context["dag"].dag_id
    run_id = known.get("dag_run_id") or known.get("run_id") or context["run_id"]
    ui = conf.get("api", "base_url", fallback="").rstrip("/")
    return CallbackRun(
        dag_id=dag_id,
        run_id=run_id,
        run_type=_enum_text(known.get("run_type")) or run_id.partition("__")[0],
        state=_enum_text(known.get("state")),
        url=f"{ui}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        started_at=_parse_instant(known.get("start_date")),
        entity=_find_entity(entity),
    )


def _find_entity(name: str) -> Entity | None:
    from etl.catalog.entities import ENTITIES

    return next((entity for entity in ENTITIES if entity.name == name), None)


def _enum_text(value: Any) -> str:  # noqa: ANN401 - an enum, its value, or None
    return str(getattr(value, "value", value) or "")


def _parse_instant(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
