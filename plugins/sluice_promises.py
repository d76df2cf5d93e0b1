"""What Airflow calls when a share of a promise is over, and when a run ended: a mail goes out, if there is news.

`late` runs in the triggerer, `succeeded` and `failed` in the Dag processor; neither may touch Airflow's own database
but through the connection `airflow_db`. Whatever blocks is done in threads.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseHook
from airflow.sdk.configuration import conf

import sluice_connections as connections
from etl.errors import MailRefused, MailServerSilent

if TYPE_CHECKING:
    from etl.declare.entity import Entity
    from etl.steps.tell import Run
    from etl.stores.promises import Letter
    from etl.stores.warehouse import Warehouse
    from etl.wire.email import MailServer

    Decide = Callable[[Warehouse, Warehouse | None], Letter | None]

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

    def decide(warehouse: Warehouse, metadata: Warehouse | None) -> Letter | None:
        from etl.promise.news import Kind
        from etl.steps import tell

        now = datetime.now(UTC)
        return tell.late(
            _run(context, entity),
            Kind.FORECAST if left else Kind.MISSED,
            promised_by=(_instant(context["deadline"]["deadline_time"]) or now) + timedelta(seconds=left),
            warehouse=warehouse,
            metadata=metadata,
            as_of=now,
        )

    await _tell(decide)


def succeeded(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run is done after all, if people were told that it would not be."""

    def decide(warehouse: Warehouse, metadata: Warehouse | None) -> Letter | None:
        from etl.steps import tell

        return tell.recovered(_run(context, entity), warehouse=warehouse, metadata=metadata, as_of=datetime.now(UTC))

    asyncio.run(_tell(decide))


def failed(context: Mapping[str, Any], *, entity: str = "") -> None:
    """Tell that a run failed."""

    def decide(warehouse: Warehouse, metadata: Warehouse | None) -> Letter | None:
        from etl.steps import tell

        return tell.failed(_run(context, entity), warehouse=warehouse, metadata=metadata, as_of=datetime.now(UTC))

    asyncio.run(_tell(decide))


async def _tell(decide: Decide) -> None:
    """Send what is decided, and what could not be sent before."""
    async with asyncio.timeout(_LONGEST):
        letters = await asyncio.to_thread(_letters, decide)
        errors = await _send(letters) if letters else {}
        if letters:
            await asyncio.to_thread(_remember, letters, errors)


def _letters(decide: Decide) -> list[Letter]:
    from etl.stores import promises
    from etl.wire import email  # noqa: F401 - here its import does not hold the event loop up

    with ExitStack() as opened:
        warehouse = opened.enter_context(connections.warehouse())
        letter = decide(warehouse, opened.enter_context(connections.metadata()))
        new = [letter] if letter else []
        return [*new, *promises.retake(warehouse, besides=[letter.promise_id for letter in new])]


async def _send(letters: list[Letter]) -> dict[int, str]:
    """Send mails, and return why some could not be, by id; a server that does not answer is not asked again."""
    from etl.wire import email

    errors: dict[int, str] = {}
    try:
        server = await _mail_server()
    except MailRefused as error:
        return {letter.promise_id: str(error) for letter in letters}
    silent = ""
    for letter in letters:
        try:
            if not silent:
                await email.send(letter.mail, server, message_id=letter.message_id, thread=letter.thread)
        except MailServerSilent as error:
            silent = str(error)
        except MailRefused as error:
            errors[letter.promise_id] = str(error)
        if silent:
            errors[letter.promise_id] = silent
    return errors


def _remember(letters: list[Letter], errors: Mapping[int, str]) -> None:
    from etl.stores import promises

    with connections.warehouse() as warehouse:
        for letter in letters:
            error = errors.get(letter.promise_id)
            if error is None:
                promises.sent(warehouse, letter)
                continue
            promises.unsent(warehouse, letter, error)
            log.error("%s: run %s: the mail %r was not sent: %s", letter.dag_id, letter.run_id, letter.subject, error)


async def _mail_server() -> MailServer:
    from airflow.sdk.exceptions import AirflowNotFoundException

    from etl.wire.email import MailServer

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
    from etl.steps.tell import Run

    dag_run = context.get("dag_run") or {}
    known = dag_run if isinstance(dag_run, Mapping) else vars(dag_run)
    dag_id = known.get("dag_id") or context["dag"].dag_id
    run_id = known.get("dag_run_id") or known.get("run_id") or context["run_id"]
    ui = conf.get("api", "base_url", fallback="").rstrip("/")
    return Run(
        dag_id=dag_id,
        run_id=run_id,
        run_type=str(getattr(known.get("run_type"), "value", known.get("run_type")) or run_id.partition("__")[0]),
        state=str(getattr(known.get("state"), "value", known.get("state")) or ""),
        url=f"{ui}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        started_at=_instant(known.get("start_date")),
        entity=_entity(entity),
    )


def _entity(name: str) -> Entity | None:
    from etl.catalog.entities import ENTITIES

    return next((entity for entity in ENTITIES if entity.name == name), None)


def _instant(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
