"""What Airflow calls when a share of a promise is over, and when a run ended: a mail goes out, if there is news.

`late` runs in the triggerer, `succeeded` and `failed` in the Dag processor. Neither may touch Airflow's own database,
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
from etl.alerts.alert import Kind
from etl.errors import MailRefused, MailServerSilent

if TYPE_CHECKING:
    from etl.alerts.context import Run
    from etl.alerts.store.outbox import Letter
    from etl.clients.smtp import MailServer
    from etl.declare.entity import Entity

MAIL = "smtp_default"
_LONGEST = 40.0
"""Seconds; the Dag processor ends a file's callbacks after 50."""

log = logging.getLogger(__name__)


async def late(*, entity: str, left: float, context: Mapping[str, Any]) -> None:
    """Tell that a run is late, or is going to be.

    Parameters
    ----------
    entity
        What its chunks load; empty if it has none.
    left
        Seconds from the alert that calls until the promise is over; 0 if it is the promise itself.
    context
        The run and the alert's deadline, from Airflow.
    """
    alert_at = _instant(context["deadline"]["deadline_time"])
    promised_by = alert_at + timedelta(seconds=left) if alert_at else None
    await _tell(Kind.FORECAST if left else Kind.MISSED, context, entity, promised_by)


def succeeded(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run is done after all, if people were told that it would not be."""
    asyncio.run(_tell(Kind.RECOVERED, context, entity))


def failed(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run failed."""
    asyncio.run(_tell(Kind.FAILED, context, entity))


async def _tell(kind: Kind, context: Mapping[str, Any], entity: str, promised_by: datetime | None = None) -> None:
    """Send what there is to tell, and what could not be sent before."""
    async with asyncio.timeout(_LONGEST):
        letters = await asyncio.to_thread(_letters, kind, context, entity, promised_by)
        if letters:
            errors = await _send(letters)
            await asyncio.to_thread(_remember, letters, errors)


def _letters(kind: Kind, context: Mapping[str, Any], entity: str, promised_by: datetime | None) -> list[Letter]:
    import psycopg

    from etl.alerts import decide
    from etl.alerts.store import outbox
    from etl.clients import smtp  # noqa: F401 - here its import does not hold the event loop up

    asked = decide.Question(
        _run(context, entity), kind, datetime.now(UTC), promised_by, str(context.get("reason") or "")
    )
    with ExitStack() as opened:
        metadata = opened.enter_context(connections.metadata())
        try:
            warehouse = opened.enter_context(connections.warehouse())
        except psycopg.OperationalError as error:
            letter = decide.tell_unkept(asked, metadata=metadata, found=str(error))
            return [letter] if letter else []
        letter = decide.tell(asked, warehouse=warehouse, metadata=metadata)
        new = [letter] if letter else []
        return [*new, *outbox.retake(warehouse, besides=[letter.promise_id for letter in new])]


async def _send(letters: list[Letter]) -> dict[int, str]:
    """Send mails, and return why some could not be, by id; a server that does not answer is not asked again."""
    from etl.clients import smtp

    errors: dict[int, str] = {}
    silent = ""
    try:
        server = await _mail_server()
    except MailRefused as error:
        return {letter.promise_id: str(error) for letter in letters}
    for letter in letters:
        try:
            if not silent:
                await smtp.send(letter.mail, server, message_id=letter.message_id, thread=letter.thread)
        except MailServerSilent as error:
            silent = str(error)
        except MailRefused as error:
            errors[letter.promise_id] = str(error)
        if silent:
            errors[letter.promise_id] = silent
    return errors


def _remember(letters: list[Letter], errors: Mapping[int, str]) -> None:
    from etl.alerts.store import outbox

    for letter in letters:
        if error := errors.get(letter.promise_id):
            log.error("%s: run %s: the mail %r was not sent: %s", letter.dag_id, letter.run_id, letter.subject, error)
    kept = [letter for letter in letters if letter.promise_id != outbox.UNKEPT]
    if not kept:
        return
    with connections.warehouse() as warehouse:
        for letter in kept:
            if error := errors.get(letter.promise_id):
                outbox.unsent(warehouse, letter, error)
            else:
                outbox.sent(warehouse, letter)


async def _mail_server() -> MailServer:
    from airflow.sdk.exceptions import AirflowNotFoundException

    from etl.clients.smtp import MailServer

    try:
        held = await BaseHook.aget_connection(MAIL)
    except AirflowNotFoundException:
        raise MailRefused("(none)", f"there is no connection {MAIL!r}") from None
    return MailServer.of_connection(
        host=held.host or "",
        port=held.port,
        login=held.login or "",
        password=held.password or "",
        # Its own way to read the extra would ask for secrets to be masked, which must not be done in an event loop.
        extra=json.loads(held.extra or "{}"),
    )


def _run(context: Mapping[str, Any], entity: str) -> Run:
    """Return the run that Airflow speaks of, in whichever of its three forms."""
    from etl.alerts.context import Run

    dag_run = context.get("dag_run") or {}
    known = dag_run if isinstance(dag_run, Mapping) else vars(dag_run)
    dag_id = known.get("dag_id") or context["dag"].dag_id
    run_id = known.get("dag_run_id") or known.get("run_id") or context["run_id"]
    ui = conf.get("api", "base_url", fallback="").rstrip("/")
    return Run(
        dag_id=dag_id,
        run_id=run_id,
        run_type=_plain(known.get("run_type")) or run_id.partition("__")[0],
        state=_plain(known.get("state")),
        url=f"{ui}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        started_at=_instant(known.get("start_date")),
        entity=_entity(entity),
    )


def _entity(name: str) -> Entity | None:
    from etl.catalog.entities import ENTITIES

    return next((entity for entity in ENTITIES if entity.name == name), None)


def _plain(value: Any) -> str:  # noqa: ANN401 - an enum, its value, or None
    return str(getattr(value, "value", value) or "")


def _instant(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
