"""`sluice notify send`: send one announcement to a few users at once."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.cli.arguments import NoticeName, find_notice
from etl.cli.help import examples
from etl.settings import Endpoint


@examples(
    "sluice notify send fraud_alert --user 7 --key flag-123 --value name=Ann",
    "sluice notify send fraud_alert --user 7 --user 8 --key flag-123",
)
def send(
    notice: NoticeName,
    *,
    user: Annotated[list[int], typer.Option(help="A recipient's user_id in core.users; may be repeated.")],
    key: Annotated[str, typer.Option(help="Dedupe key: a user gets only one message with the same key.")],
    value: Annotated[list[str], typer.Option(help="A value for the templates, as name=text; may be repeated.")] = [],  # noqa: B006 - only read
) -> None:
    """Send one announcement to some users at once, through the most urgent queue; nobody gets it twice."""
    from etl.db.connection import connect_warehouse
    from etl.notify.announce import announce_now

    declared = find_notice(notice)
    values = dict(_parse_assignment(text) for text in value)
    server = Endpoint.from_environment("airflow_api")
    with connect_warehouse() as db:
        planned = announce_now(declared, user, key, values, db=db, server=server)
    repeated = "" if planned.ordinals else ", which was sent before"
    typer.echo(f"{notice} {key}: run {planned.run_id}{repeated}; see `sluice notify status {planned.run_id}`")


def _parse_assignment(text: str) -> tuple[str, str]:
    """Return the name and the text of a value.

    Raises
    ------
    typer.BadParameter
        If it is not written as name=text.
    """
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise typer.BadParameter(f"{text!r} is no value; write name=text")
    return name, value
