"""What a person types: names of entities and notices, periods, runs and parameters."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.declare.entity import Entity
from etl.declare.notice import ANNOUNCEMENT_PREFIX, Notice

if TYPE_CHECKING:
    from etl.notify.store.runs import NoticeRun

ENTITY_NAMES = ", ".join(entity.name for entity in ENTITIES)
NOTICE_NAMES = ", ".join(notice.name for notice in NOTICES)
NoticeName = Annotated[str, typer.Argument(metavar="NOTICE", help=f"One of {NOTICE_NAMES}.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", help="Its number, as `notify status` lists it.", max=2**31 - 1)]
Period = Annotated[str | None, typer.Option(help="For which period; the last whole one, if not given.")]
Parameters = Annotated[
    str | None, typer.Option(help="More values for the statements of the notice, as JSON.", metavar="JSON")
]


def find_entity(name: str) -> Entity:
    """Return an entity.

    Raises
    ------
    typer.BadParameter
        If there is none of this name.
    """
    for entity in ENTITIES:
        if entity.name == name:
            return entity
    raise typer.BadParameter(f"{name!r} is no entity; it is one of {ENTITY_NAMES}")


def find_notice(name: str) -> Notice:
    """Return a notice.

    Raises
    ------
    typer.BadParameter
        If there is none of this name.
    """
    for notice in NOTICES:
        if notice.name == name:
            return notice
    raise typer.BadParameter(f"{name!r} is no notice; it is one of {NOTICE_NAMES}")


def parse_period(notice: Notice, text: str | None, *, as_of: datetime) -> str:
    """Return the period that a person means: the one given, or that of the last whole interval of the schedule.

    A notice without a cron expression has no intervals; it is about now. What was announced goes by its key.

    Raises
    ------
    typer.BadParameter
        If it is not written as the notice has it.
    """
    if text is None:
        return notice.default_period(as_of)
    if not notice.is_valid_period(text) and not text.startswith(ANNOUNCEMENT_PREFIX):
        raise typer.BadParameter(
            f"{text!r} is no period of {notice.name}; write it as {notice.period!r} has it, such as "
            f"{notice.period_starting(as_of)}"
        )
    return text


def parse_parameters(text: str | None) -> dict[str, Any]:
    """Return what was given besides.

    Raises
    ------
    typer.BadParameter
        If it is no JSON object.
    """
    try:
        given = json.loads(text) if text else {}
        json.dumps(given, ensure_ascii=False).encode()
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object; write names and values, such as '{{\"limit\": 5}}'")
    return given


def send_command(run: NoticeRun) -> str:
    """Return the command that sends what is left of a run."""
    from etl.notify import announce

    conf = json.dumps({"run_id": run.run_id})
    dag = announce.DAG_ID if run.is_announced else f"notify_{run.notice}"
    return f"airflow dags trigger {dag} --conf '{conf}'"
