"""Arguments and options of several commands: names, runs, periods and parameters, with their completion."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from importlib import import_module
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from etl import catalog_folder
from etl.catalog import entities, notices
from etl.catalog.entities import ENTITIES
from etl.catalog.notices import NOTICES
from etl.declare import fault
from etl.declare.entity import Entity
from etl.declare.fault import DeclarationFault
from etl.declare.notice import ANNOUNCEMENT_PREFIX, Notice
from etl.declare.provider import Provider
from etl.declare.queue import Queue
from etl.errors import DeclarationError

if TYPE_CHECKING:
    from etl.notify.store.runs import NoticeRun

_MAX_INTEGER = 2**31 - 1
_MAX_BIGINT = 2**63 - 1
_MAX_COMPLETION_HELP = 72
"""Characters."""

_NONE = "none, since the catalogue declares none"
ENTITY_NAMES = ", ".join(entity.name for entity in ENTITIES) or _NONE
NOTICE_NAMES = ", ".join(notice.name for notice in NOTICES) or _NONE


PROVIDERS = {entity.provider.name: entity.provider for entity in ENTITIES}
"""Providers of the entities, by name."""


def find_provider(name: str) -> Provider:
    """Return a provider; the only one if no name is given, and no file of the catalogue may have another.

    Raises
    ------
    typer.BadParameter
        If there is no such provider, or none was named and there are several.
    DeclarationError
        If there is none, and a file of the catalogue is wrong.
    """
    if not name and len(PROVIDERS) == 1 and not entities.FAULTS:
        return next(iter(PROVIDERS.values()))
    if name not in PROVIDERS:
        for each in entities.FAULTS:
            raise_fault(each)
        problem = f"{name!r} is no provider" if name else "the catalogue has several providers"
        raise typer.BadParameter(f"{problem}; name one of {', '.join(sorted(PROVIDERS))}", param_hint="--provider")
    return PROVIDERS[name]


def raise_fault(found: DeclarationFault) -> NoReturn:
    """Say in one sentence why an entity is not declared.

    Raises
    ------
    DeclarationError
        With the file that is wrong, perhaps one that the entity's file imports, or with what is wrong with the setting.
    """
    if found.location != catalog_folder.VARIABLE:
        with fault.explained():
            import_module(f"{catalog_folder.find().package}.entities.{found.name}")
    raise DeclarationError(str(found))


def complete_entity() -> list[tuple[str, str]]:
    """Return the entities for the completion of a shell."""
    return list_completions(ENTITIES)


def complete_notice() -> list[tuple[str, str]]:
    """Return the notices for the completion of a shell."""
    return list_completions(NOTICES)


def list_completions(declarations: Iterable[Entity | Notice | Queue]) -> list[tuple[str, str]]:
    """Return the names of declarations with their summaries, in one line each: Typer would wrap longer ones."""
    return [(each.name, shorten(each.summary, _MAX_COMPLETION_HELP, placeholder=" …")) for each in declarations]


def require_id(number: int | None) -> int | None:
    """Return a number that can be an id or a limit.

    It is a callback, and not the bounds of the option, since a help of 80 columns has no room for such bounds.

    Raises
    ------
    typer.BadParameter
        If it is below 1 or above the largest number of the database.
    """
    return _require_range(number, 1, _MAX_BIGINT)


def require_ids(numbers: list[int]) -> list[int]:
    """Return numbers that can be ids; see `require_id`."""
    for number in numbers:
        require_id(number)
    return numbers


def require_run_id(number: int | None) -> int | None:
    """Return a number that can be the id of a run; see `require_id`."""
    return _require_range(number, 1, _MAX_INTEGER)


def require_limit(number: int) -> int | None:
    """Return a limit, which may be 0; see `require_id`."""
    return _require_range(number, 0, _MAX_BIGINT)


NoticeName = Annotated[
    str, typer.Argument(metavar="NOTICE", help=f"One of {NOTICE_NAMES}.", autocompletion=complete_notice)
]
RunId = Annotated[
    int,
    typer.Argument(metavar="RUN", help="The run's number; `sluice notify status` lists runs.", callback=require_run_id),
]
Period = Annotated[
    str | None,
    typer.Option(help="Period to send for, such as 2026-10; by default the last completed one."),
]
Parameters = Annotated[
    str | None, typer.Option(help="More parameters for the notice's SQL and templates, as JSON.", metavar="JSON")
]


def find_entity(name: str) -> Entity:
    """Return an entity.

    Raises
    ------
    typer.BadParameter
        If no entity has this name.
    """
    for entity in ENTITIES:
        if entity.name == name:
            return entity
    _refuse_left_out("entity", name, entities.FAULTS)
    raise typer.BadParameter(f"{name!r} is no entity; it is one of {ENTITY_NAMES}")


def _refuse_left_out(kind: str, name: str, faults: Iterable[DeclarationFault]) -> None:
    """Raise if a declaration is there, but wrong."""
    if any(each.name == name for each in faults):
        raise typer.BadParameter(f"{kind} {name} is left out, since it is declared wrongly; the warning says how")


def find_notice(name: str) -> Notice:
    """Return a notice.

    Raises
    ------
    typer.BadParameter
        If no notice has this name.
    """
    for notice in NOTICES:
        if notice.name == name:
            return notice
    _refuse_left_out("notice", name, notices.FAULTS)
    raise typer.BadParameter(f"{name!r} is no notice; it is one of {NOTICE_NAMES}")


def parse_period(notice: Notice, text: str | None, *, as_of: datetime) -> str:
    """Return the given period, or by default that of the last completed interval of the notice's schedule.

    A notice without a cron expression has no intervals; its default is the period of `as_of`. The period of an
    announcement is its key.

    Raises
    ------
    typer.BadParameter
        If the text does not have the format of the notice's periods.
    """
    if text is None:
        return notice.default_period(as_of)
    if not notice.is_valid_period(text) and not text.startswith(ANNOUNCEMENT_PREFIX):
        raise typer.BadParameter(
            f"{text!r} is no period of {notice.name}; write it in the format {notice.period!r}, such as "
            f"{notice.period_starting(as_of)}"
        )
    return text


def parse_parameters(text: str | None) -> dict[str, Any]:
    """Return the parameters of a JSON object; none if there is no text.

    Raises
    ------
    typer.BadParameter
        If the text is no JSON object.
    """
    try:
        parameters = json.loads(text) if text else {}
        json.dumps(parameters, ensure_ascii=False).encode()
    except ValueError:
        parameters = None
    if not isinstance(parameters, dict):
        raise typer.BadParameter(f"{text!r} is no JSON object; write names and values, such as '{{\"limit\": 5}}'")
    return parameters


def send_command(run: NoticeRun) -> str:
    """Return the command that sends the remaining messages of a run."""
    from etl.notify import announce

    conf = json.dumps({"run_id": run.run_id})
    dag = announce.DAG_ID if run.is_announced else f"notify_{run.notice}"
    return f"airflow dags trigger {dag} --conf '{conf}'"


def _require_range(number: int | None, minimum: int, maximum: int) -> int | None:
    if number is not None and not minimum <= number <= maximum:
        raise typer.BadParameter(f"{number} is not in the range {minimum} to {maximum}")
    return number
