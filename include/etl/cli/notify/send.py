"""`python -m etl notify send`: tell one thing to a few users at once."""

from typing import Annotated

import typer

from etl.catalog.notices import NOTICES
from etl.settings import Endpoint

_NOTICE_NAMES = ", ".join(notice.name for notice in NOTICES)


def send(
    notice: Annotated[str, typer.Argument(help=f"One of {_NOTICE_NAMES}.")],
    *,
    user: Annotated[list[int], typer.Option(help="Whom to tell, by user_id; may be repeated.")],
    key: Annotated[str, typer.Option(help="Names what they are told; nobody is told twice of one key.")],
    value: Annotated[list[str], typer.Option(help="What the templates name: name=text; may be repeated.")] = [],  # noqa: B006 - only read
) -> None:
    """Tell users one thing at once, through the most urgent queue; nobody gets it twice with the same key."""
    from etl.db.connection import connect_warehouse
    from etl.notify.announce import announce_now

    declared = next((each for each in NOTICES if each.name == notice), None)
    if declared is None:
        raise typer.BadParameter(f"{notice!r} is no notice; it is one of {_NOTICE_NAMES}")
    values = dict(_parse_assignment(text) for text in value)
    server = Endpoint.from_environment("airflow_api")
    with connect_warehouse() as db:
        planned = announce_now(declared, user, key, values, db=db, server=server)
    done = "" if planned.ordinals else ", which was sent before"
    typer.echo(f"{notice} {key}: run {planned.run_id}{done}; see `python -m etl notify status {planned.run_id}`")


def _parse_assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise typer.BadParameter(f"{text!r} names no value; write name=text")
    return name, value
