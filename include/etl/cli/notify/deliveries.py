"""`sluice notify deliveries`: the messages that a user got."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from etl.cli.arguments import NOTICE_NAMES, complete_notice, find_notice, require_id
from etl.cli.help import AsJson, examples
from etl.cli.terminal import print_json, print_line

_JSON = (
    "a list of `notice`, `key` (period or other dedupe key), `channel`, `state`, `error_class`, `run_id`, `claimed_at` "
    "and `ended_at`"
)


@examples(
    "sluice notify deliveries --user 4711",
    "sluice notify deliveries --user 4711 --notice fraud_alert --key 'alert 993'",
    json=_JSON,
)
def deliveries(
    *,
    user: Annotated[int, typer.Option(metavar="ID", help="The user's user_id in core.users.", callback=require_id)],
    notice: Annotated[
        str | None,
        typer.Option(metavar="NOTICE", help=f"Only of one of {NOTICE_NAMES}.", autocompletion=complete_notice),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Also deliveries with this dedupe key, for notices whose keys are not periods; repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of deliveries to list.", min=1, max=10_000)] = 20,
    as_json: AsJson = False,
) -> None:
    """List the messages to a user: when each was sent, over which channel, and with what result."""
    from etl.db.connection import connect_warehouse
    from etl.notify.store import deliveries, recipients

    name = find_notice(notice).name if notice else None
    with connect_warehouse() as db:
        listed = deliveries.list_by_user(db, user, notice=name, extra_keys=key or [], limit=limit)
        is_known = bool(listed) or recipients.find_user(db, user) is not None
    if not is_known:
        raise typer.BadParameter(f"there is no user {user} in core.users, and no delivery to one")
    if as_json:
        print_json(listed)
        return
    for delivery in listed:
        time = (delivery.ended_at or delivery.claimed_at).astimezone(UTC)
        error = f" ({delivery.error_class})" if delivery.error_class else ""
        print_line(
            f"{time:%Y-%m-%d %H:%M:%S} UTC  {delivery.notice} {delivery.key}  "
            f"{delivery.channel}: {delivery.state}{error}, run {delivery.run_id}"
        )
    if not listed:
        typer.echo(f"user {user} got no message for any period; find messages with other dedupe keys by --key")
